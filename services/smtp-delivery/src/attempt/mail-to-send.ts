/**
 * A message as one server is to see it: what that server can't take is refused without asking, the rest becomes commands and
 * content.
 *
 * Source: spec D15 to D18, D21; RFC 1870, RFC 6152, RFC 6531, RFC 8689.
 */
import type { ClaimedRequest, Delivering } from "@postmq/queue-store";
import { enhancedStatus } from "@postmq/vocabulary";
import type { StoredRecipient } from "@postmq/vocabulary";

import type { OutgoingContent, OutgoingMail } from "../content/outgoing-content.ts";
import { hasUtf8, mailCommand, rcptCommand, sizeLimit } from "../session/mail-commands.ts";
import { requireTlsRefusal } from "../session/require-tls.ts";
import { shownHost } from "../session/smtp-session.ts";
import type { MailToSend, SmtpSession } from "../session/smtp-session.ts";
import type { AttemptState, Trouble } from "./attempt-state.ts";
import type { OnNotice } from "./transaction-verdicts.ts";

export type MailFor = {
  readonly request: ClaimedRequest;
  readonly session: SmtpSession;
  readonly delivering: Pick<Delivering, "readContent">;
  readonly outgoing: OutgoingContent;
  readonly approveDot: () => Promise<boolean>;
  readonly onNotice: OnNotice;
};

/** Content in place of the stored one. */
export type ChangedContent = Extract<OutgoingMail, { readonly kind: "changed" }>;

/** Nearly all mail: the server takes it as it is stored, which is seen at once and without reading it. */
export function goesAsItIs({ request, session, outgoing }: MailFor): boolean {
  const { envelope, recipients, content, inline } = request;
  const { offers } = session;
  const needsNoUtf8 =
    envelope.smtputf8 !== true &&
    !hasUtf8(envelope.sender) &&
    recipients.every(({ address }) => !hasUtf8(address));
  return (
    envelope.requireTls !== true &&
    content.sizeBytes <= (sizeLimit(offers) ?? Infinity) &&
    (needsNoUtf8 || offers.has("SMTPUTF8")) &&
    !outgoing.mayChange({ encoding: envelope.encoding, whole: inline }, offers)
  );
}

/**
 * D16, D18: bounced without asking the server. REQUIRETLS: another one is asked first (RFC 8689 §4.2.1).
 *
 * @returns whether nobody is left for this server
 */
export async function refuseWhatServerCannotTake(
  state: AttemptState,
  mail: MailFor,
): Promise<boolean> {
  const { request, session } = mail;
  const { sizeBytes } = request.content;
  const limit = sizeLimit(session.offers);
  const host = shownHost(session.server);
  const unmet = request.envelope.requireTls === true ? requireTlsRefusal(session) : undefined;
  if (unmet !== undefined) {
    refuse(state, session, state.pending, { ...unmet, mayBeOvercome: true });
    return true;
  }
  if (limit !== undefined && sizeBytes > limit) {
    const reason = `message size ${sizeBytes} exceeds size limit ${limit} of server ${host}`;
    refuse(state, session, state.pending, { status: enhancedStatus("5.3.4"), reason });
  } else if (!session.offers.has("SMTPUTF8")) {
    const isWholeMail = await isUtf8Mail(mail);
    const isRefused = ({ address }: StoredRecipient) =>
      isWholeMail || hasUtf8(sentAddress(address, mail.outgoing));
    refuse(state, session, state.pending.filter(isRefused), withoutSmtputf8(session));
  }
  return state.pending.length === 0;
}

function refuse(
  state: AttemptState,
  session: SmtpSession,
  recipients: readonly StoredRecipient[],
  why: Trouble & { readonly mayBeOvercome?: boolean },
): void {
  if (recipients.length > 0) state.isCompleted = true;
  for (const recipient of recipients) state.report(recipient, { ...why, kind: "failed" }, session);
}

function withoutSmtputf8({ server }: SmtpSession): Trouble {
  const reason = `SMTPUTF8 is required, but was not offered by host ${shownHost(server)}`;
  return { status: enhancedStatus("5.6.7"), reason };
}

/** An address of the envelope as the server is to see it (D21). */
function sentAddress(address: string, { genericAddress }: OutgoingContent): string {
  return genericAddress === undefined || address === "" ? address : genericAddress(address);
}

/** UTF-8 in the sender or, where the client asked for SMTPUTF8, in a header. */
async function isUtf8Mail({ request, delivering, outgoing }: MailFor): Promise<boolean> {
  const { envelope, inline, content } = request;
  if (hasUtf8(sentAddress(envelope.sender, outgoing))) return true;
  if (envelope.smtputf8 !== true) return false;
  return await outgoing.hasUtf8Headers({
    whole: inline,
    read: () => delivering.readContent(content),
  });
}

/**
 * The content in place of the stored one, if it is another for this server.
 *
 * @returns refused: it can't be sent, and all that are pending have been told
 */
export async function changedContent(
  state: AttemptState,
  mail: MailFor,
): Promise<ChangedContent | "refused" | undefined> {
  const { request, session, delivering, outgoing, onNotice } = mail;
  const { content, envelope, inline } = request;
  const stored = {
    contentId: content.contentId,
    encoding: envelope.encoding,
    whole: inline,
    read: () => delivering.readContent(content),
  };
  const prepared = await outgoing.prepare(stored, session.offers, onNotice);
  if (prepared?.kind !== "refused") {
    if (prepared?.needsSmtputf8 !== true || session.offers.has("SMTPUTF8")) return prepared;
    refuse(state, session, state.pending, withoutSmtputf8(session));
    return "refused";
  }
  const { isPermanent, status, reason } = prepared;
  state.isCompleted = true;
  for (const recipient of state.pending) {
    state.report(recipient, { kind: isPermanent ? "failed" : "deferred", status, reason }, session);
  }
  return "refused";
}

/** @param changed content in place of the stored one */
export function mailToSend(
  recipients: readonly StoredRecipient[],
  mail: MailFor,
  changed: ChangedContent | undefined,
): MailToSend {
  const { content, inline } = mail.request;
  const { delivering, approveDot, outgoing } = mail;
  const { offers } = mail.session;
  const isMapped = outgoing.genericAddress !== undefined;
  const stored = mail.request.envelope;
  const envelope = isMapped ? { ...stored, sender: sentAddress(stored.sender, outgoing) } : stored;
  const named = isMapped
    ? recipients.map((each) => ({ ...each, address: sentAddress(each.address, outgoing) }))
    : recipients;
  const needsSmtputf8 =
    envelope.smtputf8 === true ||
    changed?.needsSmtputf8 === true ||
    hasUtf8(envelope.sender) ||
    named.some(({ address }) => hasUtf8(address));
  const sizeBytes = changed?.isConverted === true ? undefined : content.sizeBytes;
  const whole = changed === undefined ? inline : changed.whole;
  return {
    mailCommand: mailCommand({ envelope, sizeBytes, needsSmtputf8 }, offers),
    rcptCommands: named.map((recipient) => rcptCommand(recipient, offers)),
    ...(whole === undefined ? {} : { whole }),
    readContent: changed?.read ?? (() => delivering.readContent(content)),
    approveDot,
  };
}
