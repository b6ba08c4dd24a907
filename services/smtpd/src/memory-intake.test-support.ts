/** An Intake that keeps messages in memory, for tests and benchmarks of the dialogue. */
import type {
  CommitAnswer,
  ContentWriter,
  FinishedContent,
  Intake,
  NewMessage,
} from "@postmq/queue-store";
import { makeQueueId, PostmqError } from "@postmq/vocabulary";
import type { QueueId } from "@postmq/vocabulary";

export type MemoryIntakeHooks = {
  /** What `refusal` answers. */
  refusal?: () => ReturnType<Intake["refusal"]>;
  /** What `flowIsDry` answers; no if absent. */
  flowIsDry?: () => boolean;
  /** What `flowTokens` answers; none if absent. */
  flowTokens?: () => number;
  /** Awaited before a commit stores; may throw. */
  beforeCommit?: (message: NewMessage) => Promise<void>;
  /** What a writer's `write` answers. */
  write?: (bytes: Buffer) => Promise<void> | undefined;
};

export type StoredMessage = NewMessage & { readonly text: string };

export class MemoryIntake implements Intake {
  readonly messages: StoredMessage[] = [];
  /** Writers that were opened and neither committed nor aborted. */
  readonly open = new Set<QueueId>();
  readonly hooks: MemoryIntakeHooks;
  #ids = 0;

  constructor(hooks: MemoryIntakeHooks = {}) {
    this.hooks = hooks;
  }

  refusal(): ReturnType<Intake["refusal"]> {
    return this.hooks.refusal?.();
  }

  flowIsDry(): boolean {
    return this.hooks.flowIsDry?.() ?? false;
  }

  async flowTokens(): Promise<number> {
    return this.hooks.flowTokens?.() ?? 0;
  }

  openContent(id: QueueId): ContentWriter {
    this.open.add(id);
    return new MemoryWriter(this, id);
  }

  async commit(message: NewMessage): Promise<CommitAnswer> {
    await this.hooks.beforeCommit?.(message);
    if (!this.open.delete(message.id)) {
      throw new PostmqError("PMQ_STORE_CONTENT_EXPIRED", "the content was dropped");
    }
    this.messages.push({
      ...message,
      text: (message.content.inline ?? Buffer.alloc(0)).toString("latin1"),
    });
    return "stored";
  }

  async forgetTaken(): Promise<void> {
    // Only messages from dropped files are marked taken.
  }

  newId(): QueueId {
    return makeQueueId(Date.UTC(2026, 10, 21) * 1000 + this.#ids++, 1);
  }
}

class MemoryWriter implements ContentWriter {
  readonly #intake: MemoryIntake;
  readonly #id: QueueId;
  readonly #parts: Buffer[] = [];
  sizeBytes = 0;

  constructor(intake: MemoryIntake, id: QueueId) {
    this.#intake = intake;
    this.#id = id;
  }

  write(bytes: Buffer): Promise<void> | undefined {
    this.#parts.push(bytes);
    this.sizeBytes += bytes.length;
    return this.#intake.hooks.write?.(bytes);
  }

  async finish(): Promise<FinishedContent> {
    const inline = Buffer.concat(this.#parts);
    return { contentId: this.#id, sizeBytes: inline.length, chunks: 1, inline };
  }

  async abort(): Promise<void> {
    this.#parts.length = 0;
    this.#intake.open.delete(this.#id);
  }
}
