/**
 * What the parameters say of a conversation: names, deadlines, which extensions are believed.
 *
 * Departs: Postfix's smtp_per_request_deadline and smtp_min_data_rate are not there, since each command has a deadline of its
 * own anyway that no drip of bytes puts off, and each 64 KB of content too. smtp_pix_workarounds are not there either.
 *
 * Source: spec delivery.md §4, D15, D20; postconf(5).
 */
import type { Parameters } from "@postmq/config";
import { splitList } from "@postmq/config";
import { openTables } from "@postmq/tables";

import type { Discards } from "./ehlo-reply.ts";
import type { Stage } from "./reply-verdict.ts";

export type SessionSettings = {
  readonly heloName: string;
  readonly lineLimit: number;
  readonly skips5xxGreeting: boolean;
  /** Deadlines in ms. */
  readonly timeoutsMs: Readonly<Record<Stage, number>>;
  /** Who is greeted with EHLO rather than HELO; never: no extension is used. */
  readonly saysEhlo: "always" | "to ESMTP" | "never";
  readonly awaitsQuitReply: boolean;
  /** For notices about protocol errors (D9). */
  readonly keepsTranscripts: boolean;
  /** An offer of STARTTLS that is not taken, since no TLS is wanted, is told of. */
  readonly notesTlsOffers: boolean;
  /** @param address of the server */
  readonly discardsFor: (address: string) => Discards;
};

export function sessionSettings(
  parameters: Parameters,
  discardsFor: SessionSettings["discardsFor"] = () => wordsOf(parameters),
): SessionSettings {
  return {
    heloName: parameters.smtp_helo_name,
    lineLimit: parameters.smtp_line_length_limit,
    skips5xxGreeting: parameters.smtp_skip_5xx_greeting,
    timeoutsMs: {
      greeting: parameters.smtp_helo_timeout,
      ehlo: parameters.smtp_helo_timeout,
      lhlo: parameters.smtp_helo_timeout,
      starttls: parameters.smtp_starttls_timeout,
      auth: parameters.smtp_helo_timeout,
      rset: parameters.smtp_rset_timeout,
      mail: parameters.smtp_mail_timeout,
      rcpt: parameters.smtp_rcpt_timeout,
      data: parameters.smtp_data_init_timeout,
      body: parameters.smtp_data_xfer_timeout,
      dot: parameters.smtp_data_done_timeout,
      quit: parameters.smtp_quit_timeout,
    },
    saysEhlo: saysEhlo(parameters),
    awaitsQuitReply: !parameters.smtp_skip_quit_response,
    keepsTranscripts: wantsTranscripts(parameters),
    notesTlsOffers: parameters.smtp_tls_note_starttls_offer,
    discardsFor,
  };
}

/** The postmaster is told of protocol errors (D9). */
export function wantsTranscripts({ notify_classes: classes }: Parameters): boolean {
  return classes.some((name) => name.toLowerCase() === "protocol");
}

function saysEhlo(parameters: Parameters): SessionSettings["saysEhlo"] {
  if (parameters.smtp_never_send_ehlo) return "never";
  return parameters.smtp_always_send_ehlo ? "always" : "to ESMTP";
}

/**
 * The settings with smtp_discard_ehlo_keyword_address_maps opened.
 *
 * @throws PMQ_TABLE_UNREADABLE
 */
export async function openSessionSettings(
  parameters: Parameters,
  onWarning: (text: string) => void,
): Promise<SessionSettings> {
  const tables = await openTables(parameters.smtp_discard_ehlo_keyword_address_maps, {
    parameterName: "smtp_discard_ehlo_keyword_address_maps",
    onWarning,
  });
  if (tables.isEmpty) return sessionSettings(parameters);
  const usual = wordsOf(parameters);
  return sessionSettings(parameters, (address) => {
    const found = tables.lookup(address);
    return found === undefined ? usual : lowerCase(splitList(found));
  });
}

function wordsOf(parameters: Parameters): Discards {
  return lowerCase(parameters.smtp_discard_ehlo_keywords);
}

function lowerCase(items: readonly string[]): readonly string[] {
  return items.map((item) => item.toLowerCase());
}
