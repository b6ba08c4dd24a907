/**
 * What is to become of a message that cleanup has opened: a pure decision.
 *
 * Mail in maildrop did not come by SMTP, so nobody waits for an answer: where smtpd would refuse a message in the
 * dialogue, here each of its recipients fails, and the report that follows tells the sender. A message for nobody is
 * discarded, as Postfix's pickup does: there is no recipient that could fail (it happens to a finished message that
 * was requeued, and to `sendmail -t` without an address in the headers).
 *
 * A message that was requeued is cleaned anew for the recipients with work left. Those of which a report is owed go on
 * as they are, so that it is made; a content filter set before is forgotten (A4).
 *
 * Source: spec rewriting-and-checks.md §1, R18; queues.md §3 step 2, Q7; D19, R19; admin-tools.md §2, A4.
 */
import { LineEndNormaliser } from "@postmq/mail-format";
import { cleanUp } from "@postmq/rewriting";
import type { CleanedRecipient, Refusal, RewritingParameters } from "@postmq/rewriting";
import type { NewRecipient, OpenedMessage } from "@postmq/queue-store";
import type { Envelope, StoredRecipient } from "@postmq/vocabulary";

export type Decision =
  | {
      readonly action: "release";
      readonly envelope: Envelope;
      readonly recipients: readonly NewRecipient[];
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
  const { contentFilter: _before, ...enveloped } = opened.envelope;
  const owed = opened.recipients.flatMap(reportOwed);
  const result = cleanUp({
    content,
    sizeBytes: content.length,
    envelope: enveloped,
    recipients: opened.recipients.flatMap(unfinished),
    id: opened.id,
    arrivalMs: opened.arrivalMs,
    context: opened.envelope.origin === "smtp" ? "remote" : "local",
    parameters,
  });
  const { envelope, recipients } = result;
  if (recipients.length === 0) {
    return owed.length === 0
      ? { action: "discard", reason: "no recipients specified" }
      : { action: "release", envelope, recipients: owed, content: [content] };
  }
  if (result.kind === "refused") {
    const failed = { status: result.status, reason: result.text };
    return {
      action: "release",
      envelope,
      recipients: [...recipients.map((recipient) => ({ failed, ...recipient })), ...owed],
      content: [content],
      refusal: result,
    };
  }
  return {
    action: "release",
    envelope,
    recipients: [...recipients, ...owed],
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
  return state.kind === "todo" || state.kind === "deferred" ? [recipient] : [];
}

/** One that needs no more work but its report. */
function reportOwed(stored: StoredRecipient): readonly NewRecipient[] {
  const { number: _number, state, ...recipient } = stored;
  if (state.kind !== "failed" && state.kind !== "sent") return [];
  const { kind, ...told } = state;
  if (kind === "failed") return [{ ...recipient, failed: told }];
  return "action" in told ? [{ ...recipient, sent: told }] : [];
}
