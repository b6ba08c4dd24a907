/**
 * Mail to the postmaster about a server that spoke out of turn: which one, and the transcript of the session.
 *
 * Only where notify_classes has `protocol`. It comes from double-bounce, so that its own failure is told to nobody. What
 * can't be stored is logged and lost, as with any notice that nobody is owed.
 *
 * Departs: of one address a process tells once a minute at most (Postfix: for each session).
 *
 * Source: spec D9, D28; postconf(5) notify_classes, error_notice_recipient; Postfix src/smtp/smtp_chat.c smtp_chat_notify.
 */
import type { Parameters } from "@postmq/config";
import { formatMailDate } from "@postmq/mail-format";
import type { Store } from "@postmq/queue-store";
import { isPostmqError } from "@postmq/vocabulary";

import type { ServerName } from "../session/server-name.ts";
import { shownHost } from "../session/server-name.ts";
import { wantsTranscripts } from "../session/session-settings.ts";

export type ProtocolNotices = (server: ServerName, transcript: readonly string[]) => Promise<void>;

const quietMs = 60_000;
const mostRemembered = 1_000;

/** undefined: notify_classes has no protocol. */
export function openProtocolNotices(
  parameters: Parameters,
  store: Pick<Store, "intake" | "clock">,
  onTrouble: (text: string) => void,
): ProtocolNotices | undefined {
  if (!wantsTranscripts(parameters)) return undefined;
  const intake = store.intake();
  const completed = (address: string) =>
    address.includes("@") ? address : `${address}@${parameters.myorigin}`;
  const recipient = completed(parameters.error_notice_recipient);
  const toldMs = new Map<string, number>();
  return async (server, transcript) => {
    const nowMs = performance.now();
    if (nowMs - (toldMs.get(server.address) ?? -quietMs) < quietMs) return;
    if (toldMs.size >= mostRemembered) toldMs.clear();
    toldMs.set(server.address, nowMs);
    const id = intake.newId();
    const lines = [
      `From: Mail Delivery System <${completed(parameters.empty_address_recipient)}>`,
      `To: Postmaster <${recipient}>`,
      `Subject: ${parameters.mail_name} SMTP client: errors from ${shownHost(server)}`,
      `Date: ${formatMailDate(store.clock.nowMs())}`,
      `Message-Id: <${id}@${parameters.myhostname}>`,
      "Auto-Submitted: auto-generated",
      "MIME-Version: 1.0",
      "Content-Type: text/plain; charset=utf-8",
      "Content-Transfer-Encoding: 8bit",
      "",
      `Unexpected response from ${shownHost(server)}.`,
      "",
      "Transcript of session follows.",
      "",
      ...transcript,
      "",
      "For other details, see the local mail logfile",
    ];
    try {
      const writer = intake.openContent(id);
      await writer.write(Buffer.from(lines.map((line) => `${line}\r\n`).join("")));
      await intake.commit({
        id,
        queue: "incoming",
        envelope: {
          sender: completed(parameters.double_bounce_sender),
          origin: "bounce",
          encoding: "8bit",
        },
        recipients: [{ address: recipient }],
        content: await writer.finish(),
      });
    } catch (error) {
      if (!isPostmqError(error)) throw error;
      onTrouble(`a notice about ${shownHost(server)} is lost: ${error.message}`);
    }
  };
}
