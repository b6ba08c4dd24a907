/**
 * Taking mail in: content, commit, ring.
 *
 * Commits go over one hasty connection (never resent), coalesced: whatever arrives while a script is under way goes
 * with the next one, so that one fsync carries many messages (docs/decisions/002: four connections cost a tenth more
 * CPU). Content that goes ahead in chunks has a connection of its own, so that no commit waits behind it. A ring follows
 * its commit's reply.
 *
 * Source: DESIGN §3, §8; P1, P4, P9; faults 1, 2, 11, 17, 19, 22.
 */
import { randomInt } from "node:crypto";
import type { Redis } from "ioredis";
import { makeQueueId, PostmqError } from "@postmq/vocabulary";
import type { QueueId } from "@postmq/vocabulary";
import { Coalescer } from "./coalescer.ts";
import { commitArguments, commitKeys, needsStaging, stageRecipients } from "./commit-arguments.ts";
import { StagedContentWriter } from "./content.ts";
import type { CommitAnswer, ContentWriter, Intake, NewMessage } from "./contract.ts";
import { InFlow } from "./in-flow.ts";
import { storeError, whenOpen } from "./redis-connection.ts";
import { loadScript, runScript } from "./script.ts";
import { asArray, asNumber, asWord } from "./script-reply.ts";
import type { StoreParts } from "./store-parts.ts";

const commitMessages = loadScript("commit-messages");
const maxCommitMessages = 100;
const maxCommitBytes = 1024 * 1024;
/** Rounds a recipient list beyond its first chunk belongs to: a new message's is 0. */
const firstRound = "0";

/** isLookedFor: the leader looks into incoming by itself, so no ring is needed. */
type Committed = { readonly answer: CommitAnswer | "expired"; readonly isLookedFor: boolean };

export class IntakeStore implements Intake {
  readonly #parts: StoreParts;
  readonly #redis: Redis;
  readonly #contentRedis: Redis;
  readonly #flow: InFlow;
  readonly #commits: Coalescer<NewMessage, Committed>;
  /** Open for the first time, or given up on: from then on a connection that is down is down. */
  #opening: Promise<unknown> | undefined;

  constructor(parts: StoreParts) {
    this.#parts = parts;
    this.#redis = parts.connect("hasty", "intake");
    this.#contentRedis = parts.connect("hasty", "content");
    const { keys, processLimit } = parts;
    this.#flow = new InFlow({ redis: this.#redis, key: keys.flow, all: processLimit });
    this.#opening = Promise.allSettled([this.#redis, this.#contentRedis].map(whenOpen)).then(() => {
      this.#opening = undefined;
    });
    this.#commits = new Coalescer((messages) => this.#commit(messages), {
      lanes: 1,
      maxItems: maxCommitMessages,
      weight: { of: (message) => message.content.inline?.length ?? 0, max: maxCommitBytes },
    });
  }

  refusal(): "unreachable" | "full" | "identity" | undefined {
    const isUp = this.#redis.status === "ready";
    return isUp || this.#opening !== undefined ? this.#parts.monitor.refusal() : "unreachable";
  }

  flowIsDry(): boolean {
    return this.#flow.isDry();
  }

  flowTokens(): Promise<number> {
    return this.#flow.tokens();
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
    return new StagedContentWriter(this.#contentRedis, {
      prefix: this.#parts.keys.prefix,
      id,
      inlineId: id,
      onWrite: () => this.#assertOpen(),
    });
  }

  async commit(message: NewMessage): Promise<CommitAnswer> {
    this.#assertOpen();
    const leave = message.queue === "incoming" ? this.#flow.enter() : undefined;
    const { answer, isLookedFor } = await this.#staged(message).finally(leave);
    if (answer === "expired") {
      throw new PostmqError(
        "PMQ_STORE_CONTENT_EXPIRED",
        "content stored ahead of the commit is gone",
      );
    }
    const needsRing =
      message.queue === "maildrop" || (message.queue === "incoming" && !isLookedFor);
    if (answer === "stored" && needsRing) {
      const { bells } = this.#parts;
      bells.ringAndForget(bells.ring(message.queue, message.id));
    }
    return answer;
  }

  async #staged(message: NewMessage): Promise<Committed> {
    await this.#opening;
    if (needsStaging(message)) {
      await stageRecipients(this.#contentRedis, this.#parts.keys.prefix, message, firstRound);
    }
    return await this.#commits.add(message);
  }

  async #commit(messages: readonly NewMessage[]): Promise<readonly Committed[]> {
    const { prefix } = this.#parts.keys;
    let answers: readonly unknown[];
    try {
      answers = asArray(
        await runScript(
          this.#redis,
          commitMessages,
          messages.flatMap((message) => commitKeys(prefix, message)),
          [
            prefix,
            this.#parts.monitor.identity,
            messages.length,
            this.#parts.processLimit,
            ...messages.flatMap(commitArguments),
          ],
        ),
      );
    } catch (error) {
      throw storeError(error);
    }
    const [isLookedFor, flow] = [answers.at(-2) === 1, asNumber(answers.at(-1))];
    if (flow >= 0) this.#flow.note(flow === 1);
    return answers
      .slice(0, -2)
      .map((answer) => ({ answer: asWord(answer, ["stored", "already", "expired"]), isLookedFor }));
  }

  async forgetTaken(id: QueueId): Promise<void> {
    try {
      await this.#redis.del(this.#parts.keys.taken(id));
    } catch (error) {
      throw storeError(error);
    }
  }

  newId(): QueueId {
    return makeQueueId(Math.floor(this.#parts.monitor.nowMs() * 1000), randomInt(2 ** 34));
  }
}
