/**
 * Mail that keeps flowing in while a test breaks things: by SMTP and by HTTP, each message with an id of its own.
 *
 * Every message is entered in the ledger before its last byte is sent, as one whose answer is open, and as accepted
 * when it is answered 250 or 202. A refusal or a lost connection is part of the run: the next message is tried a
 * moment later, as an application would; a message is never sent twice.
 */
import { setTimeout as delay } from "node:timers/promises";

import type { Ledger } from "./ledger.ts";
import type { SeededRandom } from "./seeded-random.ts";
import { SmtpClient } from "./smtp-client.ts";
import { submitRaw } from "./submission.ts";
import { testMail } from "./test-mail.ts";
import type { TestMail } from "./test-mail.ts";

export type FlowOptions = {
  readonly ledger: Ledger;
  readonly random: SeededRandom;
  readonly smtpPort: number;
  /** HTTP submission; no mail goes that way without it. */
  readonly submissionUrl?: string;
  /** SMTP sessions that send side by side; default 4. HTTP has as many again. */
  readonly sessions?: number;
  /** Longest pause between two messages of a session; default 50. The length is random. */
  readonly pauseMs?: number;
  /** Recipients are spread over d0.example.com … */
  readonly domains?: number;
  /** Asked before each message: false holds the flow back, so that it never outruns deliveries for long. */
  readonly mayGoOn?: () => boolean;
  /** Share of recipients whose name begins with "nobody", for a sink that refuses them; default 0. */
  readonly refusedShare?: number;
};

export class MailFlow implements AsyncDisposable {
  readonly #options: FlowOptions;
  readonly #running: Promise<void>[] = [];
  readonly #refusals: string[] = [];
  #isStopped = false;
  #sent = 0;

  constructor(options: FlowOptions) {
    this.#options = options;
    for (let session = 0; session < (options.sessions ?? 4); session += 1) {
      this.#running.push(this.#keepSending((mail) => this.#overSmtp(mail)));
      if (options.submissionUrl === undefined) continue;
      const url = options.submissionUrl;
      this.#running.push(this.#keepSending((mail) => this.#overHttp(url, mail)));
    }
  }

  /** Messages that were tried so far. */
  get sent(): number {
    return this.#sent;
  }

  /** What was answered instead of acceptance, in order: replies, statuses, lost connections. */
  get refusals(): readonly string[] {
    return this.#refusals;
  }

  async stop(): Promise<void> {
    this.#isStopped = true;
    await Promise.all(this.#running);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }

  async #keepSending(send: (mail: TestMail) => Promise<void>): Promise<void> {
    const { random, domains = 1, pauseMs = 50, refusedShare = 0 } = this.#options;
    const mayGoOn = this.#options.mayGoOn ?? (() => true);
    while (!this.#isStopped) {
      await delay(random.between(0, pauseMs));
      if (!mayGoOn()) continue;
      this.#sent += 1;
      const domain = `d${random.between(0, domains - 1)}.example.com`;
      const name = random.next() < refusedShare ? "nobody" : "r";
      await send(testMail({ to: [`${name}${this.#sent}@${domain}`] })).catch((error: unknown) => {
        this.#refusals.push(error instanceof Error ? error.message : String(error));
        return delay(100);
      });
    }
  }

  async #overSmtp(mail: TestMail): Promise<void> {
    using client = await SmtpClient.open(this.#options.smtpPort);
    this.#enter("leaveOpen", mail);
    const reply = await client.deliver(mail);
    if (reply.code !== 250) throw new Error(reply.text);
    this.#enter("accept", mail);
    client.send("QUIT\r\n");
  }

  async #overHttp(url: string, mail: TestMail): Promise<void> {
    this.#enter("leaveOpen", mail);
    const { status, body } = await submitRaw(url, mail);
    if (status !== 202) throw new Error(`${status} ${JSON.stringify(body)}`);
    this.#enter("accept", mail);
  }

  #enter(how: "leaveOpen" | "accept", mail: TestMail): void {
    for (const recipient of mail.to) this.#options.ledger[how](mail.id, recipient);
  }
}
