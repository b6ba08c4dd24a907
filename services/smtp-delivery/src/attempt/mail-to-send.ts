/**
 * A message as one server is to see it: what that server can't take is refused without asking, the rest becomes commands and
 * content.
 *
 * Source: spec D15 to D18; RFC 1870, RFC 6152, RFC 6531.
 */
import type { ClaimedRequest, Delivering } from "@postmq/queue-store";
import { enhancedStatus } from "@postmq/vocabulary";
import type { StoredRecipient } from "@postmq/vocabulary";

import { hasUtf8, mailCommand, rcptCommand, sizeLimit } from "../session/mail-commands.ts";
import { shownHost } from "../session/smtp-session.ts";
import type { MailToSend, SmtpSession } from "../session/smtp-session.ts";
import type { AttemptState, Trouble } from "./attempt-state.ts";

export type MailFor = {
  readonly request: ClaimedRequest;
  readonly session: SmtpSession;
  readonly delivering: Pick<Delivering, "readContent">;
  readonly approveDot: () => Promise<boolean>;
};

/** D16, D18: bounced without asking the server. */
export async function refuseWhatServerCannotTake(
  state: AttemptState,
  mail: MailFor,
): Promise<void> {
  const { request, session } = mail;
  const { sizeBytes } = request.content;
  const limit = sizeLimit(session.offers);
  const host = shownHost(session.server);
  if (limit !== undefined && sizeBytes > limit) {
    const reason = `message size ${sizeBytes} exceeds size limit ${limit} of server ${host}`;
    refuse(state, session, state.pending, { status: enhancedStatus("5.3.4"), reason });
  } else if (!session.offers.has("SMTPUTF8")) {
    const isWholeMail = await isUtf8Mail(mail);
    const refused = state.pending.filter(({ address }) => isWholeMail || hasUtf8(address));
    const reason = `SMTPUTF8 is required, but was not offered by host ${host}`;
    refuse(state, session, refused, { status: enhancedStatus("5.6.7"), reason });
  }
}

function refuse(
  state: AttemptState,
  session: SmtpSession,
  recipients: readonly StoredRecipient[],
  why: Trouble,
): void {
  if (recipients.length > 0) state.isCompleted = true;
  for (const recipient of recipients) state.report(recipient, { ...why, kind: "failed" }, session);
}

/** UTF-8 in the sender or, where the client asked for SMTPUTF8, in a header. */
async function isUtf8Mail({ request, delivering }: MailFor): Promise<boolean> {
  const { envelope, inline, content } = request;
  if (hasUtf8(envelope.sender)) return true;
  if (envelope.smtputf8 !== true) return false;
  if (inline !== undefined) return hasUtf8(headText(inline));
  for await (const chunk of delivering.readContent(content)) return hasUtf8(headText(chunk));
  return false;
}

/** The header section, as bytes; headers longer than the first chunk are judged by what is in it. */
function headText(content: Buffer): string {
  const end = content.indexOf("\r\n\r\n");
  return content.toString("latin1", 0, end < 0 ? content.length : end);
}

export function mailToSend(recipients: readonly StoredRecipient[], mail: MailFor): MailToSend {
  const { envelope, content, inline } = mail.request;
  const { delivering, approveDot } = mail;
  const { offers } = mail.session;
  const needsSmtputf8 =
    envelope.smtputf8 === true ||
    hasUtf8(envelope.sender) ||
    recipients.some(({ address }) => hasUtf8(address));
  const facts = { envelope, sizeBytes: content.sizeBytes, needsSmtputf8 };
  return {
    mailCommand: mailCommand(facts, offers),
    rcptCommands: recipients.map((recipient) => rcptCommand(recipient, offers)),
    ...(inline === undefined ? {} : { whole: inline }),
    readContent: () => delivering.readContent(content),
    approveDot,
  };
}
