/**
 * What is to become of a message that cleanup has opened: a pure decision.
 *
 * Mail in maildrop did not come by SMTP, so nobody waits for an answer: where smtpd would refuse a message in the
 * dialogue, here each of its recipients fails, and the report that follows tells the sender. A message for nobody is
 * discarded, as Postfix's pickup does: there is no recipient that could fail (it happens to a finished message that
 * was requeued, and to `sendmail -t` without an address in the headers).
 *
 * Source: spec rewriting-and-checks.md §1, R18; queues.md §3 step 2, Q7; D19, R19.
 */
import { LineEndNormaliser } from "@postmq/mail-format";
import { cleanUp } from "@postmq/rewriting";
import type { CleanedRecipient, Refusal, RewritingParameters } from "@postmq/rewriting";
import type { OpenedMessage } from "@postmq/queue-store";
import type { Envelope, StoredRecipient } from "@postmq/vocabulary";

export type Decision =
  | {
      readonly action: "release";
      readonly envelope: Envelope;
      readonly recipients: readonly CleanedRecipient[];
      /** The content to store, in order. */
      readonly content: readonly Buffer[];
      readonly messageId?: string;
      /** Why all recipients failed. */
      readonly refusal?: Refusal;
    }
  | { readonly action: "discard"; readonly reason: string };

export function decide(
  opened: OpenedMessage,
  storedContent: Buffer,
  parameters: RewritingParameters,
): Decision {
  const content = normalise(storedContent);
  const result = cleanUp({
    content,
    sizeBytes: content.length,
    envelope: opened.envelope,
    recipients: opened.recipients.flatMap(unfinished),
    id: opened.id,
    arrivalMs: opened.arrivalMs,
    context: opened.envelope.origin === "smtp" ? "remote" : "local",
    parameters,
  });
  const { envelope, recipients } = result;
  if (recipients.length === 0) return { action: "discard", reason: "no recipients specified" };
  if (result.kind === "refused") {
    const failed = { status: result.status, reason: result.text };
    return {
      action: "release",
      envelope,
      recipients: recipients.map((recipient) => ({ failed, ...recipient })),
      content: [content],
      refusal: result,
    };
  }
  return {
    action: "release",
    envelope,
    recipients,
    content: [result.head, content.subarray(result.bodyOffset)],
    messageId: result.messageId,
  };
}

/** Whatever handed the message in: from here on no line ends otherwise than with CRLF. */
function normalise(content: Buffer): Buffer {
  const normaliser = new LineEndNormaliser();
  const lines = normaliser.write(content);
  const last = normaliser.end();
  return last.length === 0 ? lines : Buffer.concat([lines, last]);
}

/** A recipient with work left, without number and state: cleaning gives it new ones. */
function unfinished(stored: StoredRecipient): readonly CleanedRecipient[] {
  const { number: _number, state, ...recipient } = stored;
  if (state.kind === "done" || state.kind === "sent") return [];
  if (state.kind !== "failed") return [recipient];
  return [{ ...recipient, failed: { status: state.status, reason: state.reason } }];
}
