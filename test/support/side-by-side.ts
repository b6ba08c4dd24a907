/** The same messages under Postfix's tools and under ours: runs both and tells what differs. */
import assert from "node:assert/strict";
import { after, before } from "node:test";

import { startRedis } from "@postmq/testing";
import type { RedisServer } from "@postmq/testing";

import { ParityTable } from "./parity-table.ts";
import { PostfixSpool } from "./postfix-spool.ts";
import type { ToolRan } from "./postfix-spool.ts";
import { PostmqQueue } from "./postmq-queue.ts";
import type { QueuedMail } from "./queued-mail.ts";

export type Comparison = {
  readonly words: readonly string[];
  readonly input?: string;
  /** Takes out of both what may differ; with the reason, for the table. */
  readonly without?: (ran: ToolRan) => ToolRan;
  readonly mayDiffer?: string;
};

export class SideBySide implements AsyncDisposable {
  readonly #table: ParityTable;
  readonly #scene: string;
  readonly #postfix: PostfixSpool;
  readonly #postmq: PostmqQueue;

  private constructor(
    table: ParityTable,
    scene: string,
    sides: { readonly postfix: PostfixSpool; readonly postmq: PostmqQueue },
  ) {
    this.#table = table;
    this.#scene = scene;
    this.#postfix = sides.postfix;
    this.#postmq = sides.postmq;
  }

  static async open(options: {
    readonly table: ParityTable;
    readonly scene: string;
    readonly redisUrl: string;
    readonly messages: readonly QueuedMail[];
  }): Promise<SideBySide> {
    const { table, scene, redisUrl, messages } = options;
    const postfix = await PostfixSpool.write(messages);
    const postmq = await PostmqQueue.fill(redisUrl, messages);
    return new SideBySide(table, scene, { postfix, postmq });
  }

  get spoolDirectory(): string {
    return this.#postfix.directory;
  }

  /** Runs the words on both sides and asserts that both said, and ended, the same. @returns what they said */
  async compare(comparison: Comparison): Promise<ToolRan> {
    const { words, input, without = (ran) => ran, mayDiffer } = comparison;
    const [postfix, postmq] = await Promise.all([
      this.#postfix.run(words, input),
      this.#postmq.run(words, input),
    ]);
    const [theirs, ours] = [without(postfix), without(postmq)];
    const isSame = JSON.stringify(theirs) === JSON.stringify(ours);
    const shown = (ran: ToolRan) => `exit ${ran.code}, ${summary(ran.out)}/${summary(ran.err)}`;
    const what = words.join(" ");
    const isExact = JSON.stringify(postfix) === JSON.stringify(postmq);
    this.#table.add(
      this.#scene,
      what.length > 60 ? `${what.slice(0, 57)}...` : what,
      { postfix: shown(postfix), postmq: isExact ? "the same" : shown(postmq) },
      isExact ? "" : isSame ? (mayDiffer ?? "") : "DIFFERS",
    );
    assert.deepEqual(ours, theirs, `${this.#scene}: ${what}`);
    return ours;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#postfix[Symbol.asyncDispose]();
    await this.#postmq[Symbol.asyncDispose]();
  }
}

/** For the tests of one tool: a Redis while they run, and their table at the end. Called within `describe`. */
export function sideBySideTests() {
  const table = new ParityTable();
  let redis: RedisServer;
  before(async () => {
    redis = await startRedis();
  });
  after(async () => {
    await redis.stop();
    console.log(`\n${table.toString()}\n`);
  });
  return {
    table,
    redisUrl: () => redis.url,
    fill: (scene: string, messages: readonly QueuedMail[]) =>
      SideBySide.open({ table, scene, redisUrl: redis.url, messages }),
  };
}

function summary(text: string): string {
  const lines = text.split("\n").length - 1;
  return `${lines} line${lines === 1 ? "" : "s"}`;
}
