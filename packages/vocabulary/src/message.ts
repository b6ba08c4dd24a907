/**
 * What a stored message says of itself besides its content: the envelope and its recipients.
 *
 * Source: spec queues.md §2.
 */
import type { EnhancedStatus } from "./enhanced-status.ts";

/** How a message came in. `bounce`: made by us (reports). */
export const messageOrigins = ["smtp", "http", "sendmail", "bounce"] as const;
export type MessageOrigin = (typeof messageOrigins)[number];

/** The client that handed the message in, for logs and Received. Addresses without brackets. */
export type ClientAttributes = {
  readonly name: string;
  readonly address: string;
  readonly port?: number;
  readonly helo?: string;
  /** SMTP, ESMTP, ESMTPS, ESMTPA …, HTTP, or empty for local submission. */
  readonly protocol: string;
  readonly saslMethod?: string;
  readonly saslUsername?: string;
  /** Numeric user id of a local submission. */
  readonly uid?: number;
};

/** The immutable part of a message's record. */
export type Envelope = {
  /** Envelope sender without angle brackets; the empty string is the null sender. */
  readonly sender: string;
  readonly origin: MessageOrigin;
  /** sendmail -F. */
  readonly fullName?: string;
  readonly encoding?: "7bit" | "8bit";
  readonly smtputf8?: boolean;
  /** The sender wants it to travel under verified TLS or not at all. Source: RFC 8689. */
  readonly requireTls?: boolean;
  /** DSN ENVID, decoded from xtext. */
  readonly envid?: string;
  readonly ret?: "FULL" | "HDRS";
  /**
   * Two characters: each recipient gets a copy of its own, from a sender that names it between them (VERP). Absent: one
   * sender for all. Without effect with the null sender. Source: verp_sender(3).
   */
  readonly verpDelimiters?: string;
  readonly client?: ClientAttributes;
  /** transport:nexthop that all of it is sent to for filtering, whoever it is for. Source: postconf(5) content_filter. */
  readonly contentFilter?: string;
  /** sendmail -t: recipients are still to be read from the headers by cleanup. Only in maildrop. */
  readonly extractRecipients?: boolean;
  /** sendmail -N for the recipients that -t finds. Only in maildrop. */
  readonly extractedNotify?: readonly NotifyCondition[];
};

export const notifyConditions = ["NEVER", "SUCCESS", "FAILURE", "DELAY"] as const;
export type NotifyCondition = (typeof notifyConditions)[number];

/** A recipient as handed in or as rewritten. Addresses have no angle brackets. */
export type Recipient = {
  readonly address: string;
  /** The address before rewriting, when it differs. */
  readonly original?: string;
  /** DSN ORCPT as "type;address", decoded from xtext. */
  readonly orcpt?: string;
  readonly notify?: readonly NotifyCondition[];
};

/**
 * A recipient's number in its message; never reused (DESIGN §3 "Outcomes are facts").
 *
 * `todo` has been tried never or deferred; `done` needs no more attempts (sent, or failed and reported);
 * `failed` waits for its report; `sent` is delivered and waits for its success report. Source: spec Q3, D31.
 */
export type RecipientState =
  | { readonly kind: "todo" }
  | {
      readonly kind: "deferred";
      readonly status: EnhancedStatus;
      readonly reason: string;
      readonly remote?: RemoteReply;
    }
  | {
      readonly kind: "failed";
      readonly status: EnhancedStatus;
      readonly reason: string;
      readonly remote?: RemoteReply;
    }
  | {
      readonly kind: "sent";
      readonly action: SuccessAction;
      readonly status: EnhancedStatus;
      readonly reason: string;
      readonly remote?: RemoteReply;
    }
  | { readonly kind: "done" };

/** relayed: the next hop does not speak DSN; delivered: it is the last one (LMTP). Source: RFC 3464 §2.3.3. */
export const successActions = ["delivered", "relayed"] as const;
export type SuccessAction = (typeof successActions)[number];

/** What the remote server said, for reports: its name and its reply as one line. */
export type RemoteReply = {
  readonly host: string;
  readonly address: string;
  readonly port: number;
  /** e.g. "550 5.1.1 no such user"; absent when no reply came. */
  readonly reply?: string;
};

/** A recipient as stored: with its number and state. */
export type StoredRecipient = Recipient & {
  readonly number: number;
  readonly state: RecipientState;
};
