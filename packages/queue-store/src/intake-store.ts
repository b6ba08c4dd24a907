/**
 * Taking mail in: content, commit, ring.
 *
 * Commits go over a small pool of hasty connections (never resent), coalesced: whatever arrives while a script is
 * under way goes with the next one, so that one fsync carries many messages. A ring follows its commit's reply.
 *
 * Source: DESIGN §3, §8; P1, P4, P9; faults 1, 2, 11, 17, 19, 22.
 */
import { randomInt } from "node:crypto";
import type { Redis } from "ioredis";
import { makeQueueId, panic, PostmqError } from "@postmq/vocabulary";
import type { QueueId } from "@postmq/vocabulary";
import { ringAndForget } from "./bells.ts";
import { Coalescer } from "./coalescer.ts";
import { commitArguments, commitKeys, needsStaging, stageRecipients } from "./commit-arguments.ts";
import { StagedContentWriter } from "./content.ts";
import type { CommitAnswer, ContentWriter, Intake, NewMessage } from "./contract.ts";
import { storeError, whenOpen } from "./redis-connection.ts";
import { loadScript, runScript } from "./script.ts";
import { asArray, asWord } from "./script-reply.ts";
import type { StoreParts } from "./store-parts.ts";

const commitMessages = loadScript("commit-messages");
const maxCommitMessages = 100;
const maxCommitBytes = 1024 * 1024;
/** Rounds a recipient list beyond its first chunk belongs to: a new message's is 0. */
const firstRound = "0";

export class IntakeStore implements Intake {
  readonly #parts: StoreParts;
  readonly #connections: readonly Redis[];
  readonly #commits: Coalescer<NewMessage, CommitAnswer | "expired">;
  #next = 0;
  /** Open for the first time, or given up on: from then on a connection that is down is down. */
  #opening: Promise<unknown> | undefined;

  constructor(parts: StoreParts, connections: number) {
    this.#parts = parts;
    this.#connections = Array.from({ length: connections }, (_, i) =>
      parts.connect("hasty", `intake${i}`),
    );
    this.#opening = Promise.allSettled(this.#connections.map(whenOpen)).then(() => {
      this.#opening = undefined;
    });
    this.#commits = new Coalescer((messages, lane) => this.#commit(messages, lane), {
      lanes: connections,
      maxItems: maxCommitMessages,
      weight: { of: (message) => message.content.inline?.length ?? 0, max: maxCommitBytes },
    });
  }

  refusal(): "unreachable" | "full" | "identity" | undefined {
    const isUp = this.#connections.some((redis) => redis.status === "ready");
    return isUp || this.#opening !== undefined ? this.#parts.monitor.refusal() : "unreachable";
  }

  #assertOpen(): void {
    const refusal = this.#parts.monitor.refusal();
    if (refusal === "full")
      throw new PostmqError("PMQ_STORE_FULL", "Redis is above redis_memory_high_water");
    if (refusal === "identity") {
      throw new PostmqError("PMQ_STORE_IDENTITY", "the store is not the one this process knows");
    }
  }

  openContent(id: QueueId): ContentWriter {
    this.#next = (this.#next + 1) % this.#connections.length;
    return new StagedContentWriter(this.#connections[this.#next] ?? panic("no intake connection"), {
      prefix: this.#parts.keys.prefix,
      id,
      inlineId: id,
      onWrite: () => this.#assertOpen(),
    });
  }

  async commit(message: NewMessage): Promise<CommitAnswer> {
    this.#assertOpen();
    await this.#opening;
    if (needsStaging(message)) {
      const redis = this.#connections[0] ?? panic("no intake connection");
      await stageRecipients(redis, this.#parts.keys.prefix, message, firstRound);
    }
    const answer = await this.#commits.add(message);
    if (answer === "expired") {
      throw new PostmqError(
        "PMQ_STORE_CONTENT_EXPIRED",
        "content stored ahead of the commit is gone",
      );
    }
    if (answer === "stored" && message.queue !== "hold") {
      ringAndForget(this.#parts.bells.ring(message.queue, message.id), this.#parts.notice);
    }
    return answer;
  }

  async #commit(
    messages: readonly NewMessage[],
    lane: number,
  ): Promise<readonly (CommitAnswer | "expired")[]> {
    const { prefix } = this.#parts.keys;
    const redis = this.#connections[lane] ?? panic("no intake connection");
    let answers: readonly unknown[];
    try {
      answers = asArray(
        await runScript(
          redis,
          commitMessages,
          messages.flatMap((message) => commitKeys(prefix, message)),
          [
            prefix,
            this.#parts.monitor.identity,
            messages.length,
            ...messages.flatMap(commitArguments),
          ],
        ),
      );
    } catch (error) {
      throw storeError(error);
    }
    return answers.map((answer) => asWord(answer, ["stored", "already", "expired"]));
  }

  async forgetTaken(id: QueueId): Promise<void> {
    try {
      await (this.#connections[0] ?? panic("no intake connection")).del(this.#parts.keys.taken(id));
    } catch (error) {
      throw storeError(error);
    }
  }

  newId(): QueueId {
    return makeQueueId(Math.floor(this.#parts.monitor.nowMs() * 1000), randomInt(2 ** 34));
  }
}
