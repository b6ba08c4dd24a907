/**
 * A message on its way from DATA into the store.
 *
 * The content passes the line end normaliser; its head is held back until it is whole, cleaned up (the same steps as in
 * cleanup, here because a refusal must reach the client in the dialogue), and written in front of the body, which
 * streams into the store behind it. The message exists once the store has answered the commit, and not before: whatever
 * ends this earlier leaves nothing behind.
 *
 * While the scheduler is behind with new mail, the commit waits for an in-flow token, in_flow_delay at most.
 *
 * A message that is refused on the way is read to its end all the same, since the client can't hear us before.
 *
 * Source: DESIGN §2 "smtpd", §3; spec V1, V7, V28, R18, S33; faults.md 1, 2, 11, 17, 19.
 */
import { LineEndNormaliser } from "@postmq/mail-format";
import type { ContentWriter, Intake } from "@postmq/queue-store";
import type { CleanedMessage, Refusal, RewritingParameters } from "@postmq/rewriting";
import { cleanUp, HeadCollector } from "@postmq/rewriting";
import type { InFlowDelay } from "@postmq/service-kit";
import { isPostmqError } from "@postmq/vocabulary";
import type { Envelope, QueueId, Recipient } from "@postmq/vocabulary";

import type { CommitDeadline } from "./commit-deadline.ts";
import type { Reply } from "./reply.ts";

export type MessageSettings = {
  /** Bytes; 0: no limit. */
  readonly messageSizeLimit: number;
  readonly rewriting: RewritingParameters;
};

export type MessageParts = {
  readonly intake: Intake;
  readonly deadline: CommitDeadline;
  readonly inFlow: InFlowDelay;
  readonly settings: MessageSettings;
  readonly envelope: Envelope;
  readonly recipients: readonly Recipient[];
  readonly id: QueueId;
  readonly arrivalMs: number;
  readonly context: "local" | "remote";
  /** A line that ends in LF alone refuses the message (V28). */
  readonly isBareNewlineRefused: boolean;
};

export type MessageEnd =
  | { readonly kind: "queued"; readonly messageId: string }
  | { readonly kind: "refused"; readonly reply: Reply; readonly cause?: string };

export const storeFull: Reply = "452 4.3.1 Insufficient system storage";
export const storeTrouble: Reply = "451 4.3.0 Error: queue file write error";

/** The reply while the store takes no mail, or undefined while it does. */
export function refusalOf(intake: Intake): Reply | undefined {
  const refusal = intake.refusal();
  if (refusal === undefined) return undefined;
  return refusal === "full" ? storeFull : storeTrouble;
}

export class IncomingMessage {
  readonly #parts: MessageParts;
  readonly #writer: ContentWriter;
  readonly #normaliser = new LineEndNormaliser();
  readonly #collector = new HeadCollector();
  #cleaned: CleanedMessage | undefined;
  #refused: Extract<MessageEnd, { kind: "refused" }> | undefined;
  #receivedBytes = 0;
  #lastByte = 0;
  #hasEnded = false;

  constructor(parts: MessageParts) {
    this.#parts = parts;
    this.#writer = parts.intake.openContent(parts.id);
  }

  get id(): QueueId {
    return this.#parts.id;
  }

  /** Content bytes that came so far, dots unstuffed. */
  get receivedBytes(): number {
    return this.#receivedBytes;
  }

  /** The next bytes of the content. @returns undefined, or a promise to await before more is given; it never rejects. */
  write(bytes: Buffer): Promise<void> | undefined {
    this.#receivedBytes += bytes.length;
    if (this.#refused !== undefined || bytes.length === 0) return undefined;
    const { messageSizeLimit } = this.#parts.settings;
    if (messageSizeLimit > 0 && this.#receivedBytes > messageSizeLimit) {
      return this.#refuse("552 5.3.4 Error: message file too big");
    }
    if (this.#parts.isBareNewlineRefused && this.#hasBareNewline(bytes)) {
      return this.#refuse("550 5.5.2 Error: bare <LF> received");
    }
    const trouble = refusalOf(this.#parts.intake);
    if (trouble !== undefined) return this.#refuse(trouble);
    return this.#take(this.#normaliser.write(bytes));
  }

  /** The client's final dot has come. */
  async end(): Promise<MessageEnd> {
    this.#hasEnded = true;
    const last = this.#normaliser.end();
    if (last.length > 0 && this.#refused === undefined) await this.#take(last);
    if (this.#cleaned === undefined && this.#refused === undefined)
      await this.#clean(this.#collector.end());
    if (this.#refused !== undefined || this.#cleaned === undefined) {
      await this.#writer.abort();
      return this.#refused ?? { kind: "refused", reply: storeTrouble };
    }
    await this.#parts.inFlow.wait();
    return await this.#commit(this.#cleaned);
  }

  /** The client is gone: nothing is stored, unless all of the message has come; then it takes its course. */
  abort(): void {
    if (this.#hasEnded) return;
    this.#refused ??= { kind: "refused", reply: storeTrouble };
    // `abort` of a content writer never throws, and nobody waits for it.
    void this.#writer.abort();
  }

  /** From here on the content is not dropped on trouble: an unanswered commit may have made a message of it. */
  async #commit(cleaned: CleanedMessage): Promise<MessageEnd> {
    const { intake, deadline, id, arrivalMs } = this.#parts;
    const commit = async () => {
      const content = await this.#writer.finish();
      const { envelope, recipients } = cleaned;
      return await intake.commit({
        id,
        queue: "incoming",
        envelope,
        recipients,
        content,
        arrivalMs,
      });
    };
    try {
      const answer = await deadline.within(commit());
      if (answer !== "late") return { kind: "queued", messageId: cleaned.messageId };
      return { kind: "refused", reply: storeTrouble, cause: "no answer from the store in time" };
    } catch (error) {
      return failure(error);
    }
  }

  #take(bytes: Buffer): Promise<void> | undefined {
    if (bytes.length === 0) return undefined;
    if (this.#cleaned !== undefined) return this.#store(bytes);
    const front = this.#collector.write(bytes);
    if (front === undefined) return undefined;
    return "kind" in front ? this.#refuse(replyOf(front)) : this.#clean(front);
  }

  #clean(front: Buffer): Promise<void> | undefined {
    const { envelope, recipients, id, arrivalMs, context, settings } = this.#parts;
    const parameters = settings.rewriting;
    const content = front;
    const cleaned = cleanUp({ content, envelope, recipients, id, arrivalMs, context, parameters });
    if (cleaned.kind === "refused") return this.#refuse(replyOf(cleaned));
    this.#cleaned = cleaned;
    const full = this.#store(cleaned.head);
    const rest = front.subarray(cleaned.bodyOffset);
    if (rest.length === 0) return full;
    return full === undefined ? this.#store(rest) : full.then(() => this.#store(rest));
  }

  #store(bytes: Buffer): Promise<void> | undefined {
    if (this.#refused !== undefined) return undefined;
    const drained = this.#writer.write(bytes);
    return drained?.catch((error: unknown) => {
      this.#refused ??= failure(error);
    });
  }

  #refuse(reply: Reply): undefined {
    this.#refused ??= { kind: "refused", reply };
  }

  #hasBareNewline(bytes: Buffer): boolean {
    let before = this.#lastByte;
    this.#lastByte = bytes.at(-1) ?? before;
    for (const byte of bytes) {
      if (byte === 0x0a && before !== 0x0d) return true;
      before = byte;
    }
    return false;
  }
}

/** PMQ_STORE_FULL is the operator's to mend; all other trouble leaves open whether the message is stored. */
function failure(error: unknown): Extract<MessageEnd, { kind: "refused" }> {
  if (isPostmqError(error, "PMQ_STORE_FULL")) return { kind: "refused", reply: storeFull };
  if (isPostmqError(error))
    return { kind: "refused", reply: storeTrouble, cause: `${error.code}: ${error.message}` };
  throw error;
}

function replyOf(refusal: Refusal): Reply {
  return `${refusal.smtpCode} ${refusal.status} Error: ${refusal.text}`;
}
