/** Small mail that goes on all the time, and how long each took from the client's first byte to the server's dot. */
import assert from "node:assert/strict";
import { setTimeout as delay } from "node:timers/promises";

import { sendMail, testMail } from "@postmq/testing";
import type { FakeSmtpServer } from "@postmq/testing";

/** For nineteen in twenty of small mail, and for all: one pause of a busy machine may hit the last one. */
const longestDelayMs = 5_000;
const longestOfAllMs = 20_000;

export type SmallMailOptions = {
  readonly smtpPort: number;
  /** Its destination, for nothing else. */
  readonly sink: FakeSmtpServer;
  readonly domain: string;
  readonly everyMs: number;
};

export class SmallMail {
  readonly #options: SmallMailOptions;
  readonly #sentMs = new Map<string, number>();
  readonly #running: Promise<void>;
  #isStopped = false;

  constructor(options: SmallMailOptions) {
    this.#options = options;
    this.#running = this.#keepSending();
    // It may reject before `stop` awaits it.
    this.#running.catch(() => undefined);
  }

  /** @throws when a message was refused. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    await this.#running;
  }

  get recipients(): readonly string[] {
    return [...this.#sentMs.keys()];
  }

  /** Of messages sent since a moment, in ascending order; what has not arrived yet counts until now. */
  delaysMs(sinceMs: number): readonly number[] {
    const arrivedMs = new Map(
      this.#options.sink.messages.map(({ recipients, receivedMs }) => [recipients[0], receivedMs]),
    );
    return [...this.#sentMs]
      .filter(([, sentMs]) => sentMs >= sinceMs)
      .map(([recipient, sentMs]) => (arrivedMs.get(recipient) ?? Date.now()) - sentMs)
      .toSorted((a, b) => a - b);
  }

  async #keepSending(): Promise<void> {
    const { smtpPort, domain, everyMs } = this.#options;
    while (!this.#isStopped) {
      const mail = testMail({ to: [`s${this.#sentMs.size + 1}@${domain}`] });
      this.#sentMs.set(mail.to[0] ?? "", Date.now());
      const reply = await sendMail(smtpPort, mail);
      assert.equal(reply.code, 250, reply.text);
      await delay(everyMs);
    }
  }
}

/** The value below which that part of them lies; 0 of none. */
export function quantile(ascending: readonly number[], part: number): number {
  return ascending[Math.min(ascending.length - 1, Math.floor(ascending.length * part))] ?? 0;
}

export function describeDelays(ascending: readonly number[]): string {
  const [median, p95, most] = [0.5, 0.95, 1].map((part) => Math.round(quantile(ascending, part)));
  return `${ascending.length} messages, median ${median}, p95 ${p95}, max ${most} ms`;
}

/** Small mail was not kept waiting by what went on beside it. */
export function assertPrompt(ascendingDelaysMs: readonly number[]): void {
  const told = describeDelays(ascendingDelaysMs);
  assert.ok(quantile(ascendingDelaysMs, 0.95) < longestDelayMs, told);
  assert.ok(quantile(ascendingDelaysMs, 1) < longestOfAllMs, told);
}
