/** Mail that is sent as fast as it is delivered, to many destinations in turns, to see how fast that is. */
import assert from "node:assert/strict";
import { setTimeout as delay } from "node:timers/promises";

import { SmtpClient } from "@postmq/testing";
import type { FakeSmtpServer } from "@postmq/testing";

export type StreamOptions = {
  readonly smtpPort: number;
  /** Domain to its server, which gets nothing else. */
  readonly sinks: ReadonlyMap<string, FakeSmtpServer>;
  /** Kept sessions that send side by side. */
  readonly sessions: number;
  /** Sent but not arrived, at most: enough that deliveries never lack mail, and no backlog. */
  readonly mostUnderWay: number;
};

const content = "Subject: steady\r\n\r\nOne line of text.\r\n";

export class SteadyStream {
  /** No new mail meanwhile. */
  isPaused = false;
  readonly #options: StreamOptions;
  readonly #running: readonly Promise<void>[];
  readonly #domains: readonly string[];
  readonly #recipients: string[] = [];
  #isStopped = false;

  constructor(options: StreamOptions) {
    this.#options = options;
    this.#domains = [...options.sinks.keys()];
    this.#running = Array.from({ length: options.sessions }, () => this.#keepSending());
    // They may reject before `stop` awaits them.
    for (const session of this.#running) session.catch(() => undefined);
  }

  get recipients(): readonly string[] {
    return this.#recipients;
  }

  get arrived(): number {
    return [...this.#options.sinks.values()].reduce((sum, sink) => sum + sink.messages.length, 0);
  }

  /** Messages that arrive meanwhile. */
  async count(seconds: number): Promise<number> {
    const before = this.arrived;
    await delay(seconds * 1000);
    return this.arrived - before;
  }

  /** @throws when a message was refused. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    await Promise.all(this.#running);
  }

  async #keepSending(): Promise<void> {
    using client = await SmtpClient.open(this.#options.smtpPort);
    while (!this.#isStopped) {
      const underWay = this.#recipients.length - this.arrived;
      if (this.isPaused || underWay >= this.#options.mostUnderWay) {
        await delay(2);
        continue;
      }
      const number = this.#recipients.length;
      const recipient = `m${number}@${this.#domains[number % this.#domains.length] ?? ""}`;
      this.#recipients.push(recipient);
      const from = "sender@src.example.com";
      const reply = await client.deliver({ from, to: [recipient], content });
      assert.equal(reply.code, 250, reply.text);
    }
    client.send("QUIT\r\n");
  }
}
