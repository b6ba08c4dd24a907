/**
 * What this process knows of in-flow tokens: whether its last commit left any, for a second, and how many there are when
 * somebody waits for one (S33).
 *
 * The tokens themselves are counted in Redis by the scripts that move mail into incoming and out of it: see
 * lua/include/flow.lua. Whoever takes mail in asks `isDry` before the next message, which costs nothing; one that waits
 * asks for `tokens`, a GET.
 *
 * Source: spec S33, S34; qmgr(8) and cleanup(8) "in_flow_delay".
 */
import type { Redis } from "ioredis";

const rememberedMs = 1000;

export type FlowParts = {
  /** The connection that the commits go over: its replies come in their order, so a commit is never counted twice. */
  readonly redis: Redis;
  readonly key: string;
  /** Tokens in all. */
  readonly all: number;
};

export class InFlow {
  readonly #parts: FlowParts;
  #dryAtMs = Number.NEGATIVE_INFINITY;
  /** Messages on their way to incoming whose script has not answered: they are to take a token each. */
  #underWay = 0;

  constructor(parts: FlowParts) {
    this.#parts = parts;
  }

  /** @param isDry what a script answered: it left no token. */
  note(isDry: boolean): void {
    this.#dryAtMs = isDry ? performance.now() : Number.NEGATIVE_INFINITY;
  }

  isDry(): boolean {
    return performance.now() - this.#dryAtMs < rememberedMs;
  }

  /** Counts a message as on its way until this is called back. */
  enter(): () => void {
    this.#underWay += 1;
    return () => {
      this.#underWay -= 1;
    };
  }

  /** Tokens that are left for further messages. Never rejects: none while Redis is away. */
  async tokens(): Promise<number> {
    const { redis, key, all } = this.#parts;
    try {
      const taken = Number((await redis.get(key)) ?? 0);
      const left = Math.max(0, all - taken - this.#underWay);
      this.note(left === 0);
      return left;
    } catch {
      return 0;
    }
  }
}
