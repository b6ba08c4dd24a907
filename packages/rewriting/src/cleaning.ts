/**
 * What goes into the rewriting of one message, what comes out, and what the steps between pass on.
 *
 * Source: spec rewriting-and-checks.md §1.
 */
import type { RawHeader } from "@postmq/mail-format";
import type { EnhancedStatus, Envelope, QueueId, Recipient } from "@postmq/vocabulary";

/** The parameters that the steps read, under Postfix's names. */
export type RewritingParameters = {
  readonly myhostname: string;
  readonly myorigin: string;
  readonly mail_name: string;
  readonly hopcount_limit: number;
  readonly message_drop_headers: readonly string[];
  readonly empty_address_recipient: string;
  readonly duplicate_filter_limit: number;
  readonly header_size_limit: number;
  readonly message_size_limit: number;
  readonly undisclosed_recipients_header: string;
};

export type CleaningInput = {
  /**
   * The message with CRLF line ends: all of it, or its front with all headers whole (see HeadCollector), so that a
   * body of any size can stream past.
   */
  readonly content: Buffer;
  /** Size of the whole message, where it is known already; else its limit is the caller's to keep. */
  readonly sizeBytes?: number;
  readonly envelope: Envelope;
  readonly recipients: readonly CleanedRecipient[];
  readonly id: QueueId;
  readonly arrivalMs: number;
  /**
   * Postfix's rewrite context. `local`: the sender is on this machine or handed the mail in by other ways than SMTP;
   * headers that are missing are added. `remote`: they are not.
   */
  readonly context: "local" | "remote";
  readonly parameters: RewritingParameters;
};

/** A recipient as it leaves. `failed`: its address can't be used; a report about it is owed at once. */
export type CleanedRecipient = Recipient & {
  readonly failed?: { readonly status: EnhancedStatus; readonly reason: string };
};

/** The message as it is to be stored: `head`, then the content given from `bodyOffset` on. */
export type CleanedMessage = {
  readonly kind: "cleaned";
  /** All headers, and the empty line after them if it was missing. */
  readonly head: Buffer;
  /** Where, in the content given, the bytes start that follow the head unchanged. */
  readonly bodyOffset: number;
  readonly envelope: Envelope;
  readonly recipients: readonly CleanedRecipient[];
  /** For the log line `message-id=<…>`: with its angle brackets; `<>` if there is none. */
  readonly messageId: string;
};

/** Why a message is refused as a whole. */
export type Refusal = {
  readonly kind: "refused";
  readonly smtpCode: number;
  readonly status: EnhancedStatus;
  /** In Postfix's words, without code and status. */
  readonly text: string;
};

/**
 * smtpd refuses in the dialogue. cleanup stores the message as it came, each recipient failed, so that its sender gets
 * a report: hence the envelope as far as it was rewritten.
 */
export type RefusedMessage = Refusal & {
  readonly envelope: Envelope;
  readonly recipients: readonly CleanedRecipient[];
};

/** The message between two steps. */
export type Draft = {
  readonly input: CleaningInput;
  readonly envelope: Envelope;
  readonly recipients: readonly CleanedRecipient[];
  /** The headers as received: steps that look at headers look here, dropped ones still count (R4). */
  readonly received: readonly RawHeader[];
  /** Their size. */
  readonly headBytes: number;
  /** The headers that are kept. */
  readonly kept: readonly RawHeader[];
  /** Whole lines with CRLF that go before the kept headers, topmost first. */
  readonly prepended: string;
  /** Whole lines with CRLF that go after them. */
  readonly appended: string;
  readonly messageId: string;
};

/** One step: a pure function from draft to draft, or to a refusal that ends the work. */
export type Step = (draft: Draft) => Draft | Refusal;
