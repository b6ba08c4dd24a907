/** Messages as they lie in a queue, to be put into a Postfix spool and into postmq alike. */
import type { CopiedRecipient, MessageCopy } from "@postmq/queue-store";
import { enhancedStatus, makeQueueId, parseQueueId } from "@postmq/vocabulary";
import type { Envelope, MessageQueue, QueueId } from "@postmq/vocabulary";

export type QueuedMail = {
  readonly queue: Exclude<MessageQueue, "corrupt">;
  readonly copy: MessageCopy;
  /** Line ends are LF here; Postfix keeps lines, postmq CRLF. */
  readonly content: string;
};

export type WantedRecipient = Pick<CopiedRecipient, "address" | "original" | "orcpt" | "notify"> & {
  /** Why it was put off; absent: it was not. */
  readonly reason?: string;
  readonly isDone?: boolean;
};

export type WantedMail = {
  readonly queue?: QueuedMail["queue"];
  readonly id?: string;
  readonly sender?: string;
  readonly to: readonly (string | WantedRecipient)[];
  readonly arrivalMs?: number;
  readonly isForceExpired?: boolean;
  readonly envelope?: Partial<Envelope>;
  readonly content?: string;
};

const dayMs = 86_400_000;

/** Makes messages with ids of their own, a second apart if not told when they arrived. */
export class MailMaker {
  #made = 0;
  readonly #nowMs: number;

  constructor(nowMs: number) {
    this.#nowMs = nowMs;
  }

  make(wanted: WantedMail): QueuedMail {
    this.#made += 1;
    const queue = wanted.queue ?? "deferred";
    const arrivalMs = wanted.arrivalMs ?? this.#nowMs - 3_600_000 + this.#made * 1000;
    return {
      queue,
      content: wanted.content ?? "Subject: parity\n\nOne line of text.\n",
      copy: {
        id: this.#id(wanted.id, arrivalMs),
        queue: queue === "active" ? "incoming" : queue,
        arrivalMs,
        createdMs: arrivalMs,
        envelope: {
          sender: wanted.sender ?? "sender@src.example.com",
          origin: "sendmail",
          ...wanted.envelope,
        },
        recipients: wanted.to.map(recipientOf),
        attempts: 1,
        lastAttemptMs: arrivalMs,
        ...(queue === "deferred" ? { dueMs: this.#nowMs + dayMs } : {}),
        isForceExpired: wanted.isForceExpired ?? false,
        wasWarned: false,
        isFinished: false,
      },
    };
  }

  #id(given: string | undefined, arrivalMs: number): QueueId {
    const made = makeQueueId(arrivalMs * 1000 + this.#made, this.#made * 7919);
    return (given === undefined ? undefined : parseQueueId(given)) ?? made;
  }
}

function recipientOf(wanted: string | WantedRecipient): CopiedRecipient {
  if (typeof wanted === "string") return { address: wanted, state: { kind: "todo" } };
  const { reason, isDone = false, ...recipient } = wanted;
  if (isDone) return { ...recipient, state: { kind: "done" } };
  if (reason === undefined) return { ...recipient, state: { kind: "todo" } };
  return { ...recipient, state: { kind: "deferred", status: enhancedStatus("4.2.2"), reason } };
}
