/**
 * The part of a report that people read: what happened to their message, what will happen now, and why, for each
 * recipient. A copy for the postmaster has only the last.
 *
 * Source: spec delivery.md §9 "Format", S13; bounce(5).
 */
import type { StoredRecipient } from "@postmq/vocabulary";
import { templateName } from "../template/template.ts";
import { is8Bit } from "./mime-part.ts";
import type { ReportInput } from "./report-input.ts";
import { oneLine, wrap } from "./sanitise.ts";

export type Explanation = { readonly charset: string; readonly body: Buffer };

/** Lines with CRLF; the recipients' have at most 79 columns but where a word is longer. */
export function explanation({ notice, returned, settings }: ReportInput): Explanation {
  const template = settings.templates[templateName(notice.kind)];
  const occasion = { isExpired: notice.kind === "expired", returned: returned.kind };
  const words = notice.to === "postmaster" ? [] : template.words(occasion);
  const charset = template.charset.toLowerCase();
  const mayBeUtf8 = charset === "us-ascii" || charset === "utf-8";
  const recipients = notice.about.flatMap((each) => ["", wrap(recipientLine(each, mayBeUtf8))]);
  const body = Buffer.concat([
    Buffer.from(words.map((line) => `${line}\r\n`).join(""), "latin1"),
    Buffer.from(recipients.map((line) => `${line}\r\n`).join("")),
  ]);
  if (charset === "us-ascii") return { charset: is8Bit(body) ? "utf-8" : "us-ascii", body };
  return { charset: template.charset, body };
}

/** `<r> (expanded from <o>): reason`. Source: delivery.md §9 "Format". */
function recipientLine(recipient: StoredRecipient, mayBeUtf8: boolean): string {
  const { address, original } = recipient;
  const isExpanded =
    original !== undefined && original !== "" && original.toLowerCase() !== address.toLowerCase();
  const from = isExpanded ? ` (expanded from <${oneLine(original, mayBeUtf8)}>)` : "";
  return `<${oneLine(address, mayBeUtf8)}>${from}: ${oneLine(reason(recipient), mayBeUtf8)}`;
}

/** Of a success also where it went. Source: Postfix src/global/trace.c "delivery via". */
function reason({ state }: StoredRecipient): string {
  if (!("reason" in state)) return "delivery failed";
  if (state.kind !== "sent" || state.remote === undefined) return state.reason;
  const { host, address, port } = state.remote;
  return `delivery via ${host}[${address}]:${port}: ${state.reason}`;
}
