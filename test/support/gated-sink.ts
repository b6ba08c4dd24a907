/**
 * A destination that a test plays by hand: sessions wait at one stage until the test lets them go on, one by one.
 *
 * So it can be seen how many deliveries a mail system starts by itself, and what it does after each single success
 * or failure, whatever the speed of the machine.
 */
import { FakeSmtpServer } from "@postmq/testing";
import type { Behaviour, Decide, SmtpStage, StageEvent } from "@postmq/testing";

/** A RCPT command, as the beginning of an attempt for that recipient. */
export type Arrival = { readonly recipient: string; readonly atMs: number };

type Waiting = (behaviour: Behaviour | undefined) => void;

export class GatedSink implements AsyncDisposable {
  readonly server: FakeSmtpServer;
  /** Every RCPT, in order. */
  readonly arrivals: Arrival[] = [];
  readonly #waiting: Waiting[] = [];
  #heldStage: SmtpStage | undefined;
  #decide: Decide = () => undefined;
  #mostHeld = 0;

  constructor(server: FakeSmtpServer) {
    this.server = server;
    server.decide = (event) => this.#act(event);
  }

  static async start(port = 0): Promise<GatedSink> {
    return new GatedSink(await FakeSmtpServer.start({ port, keepsContent: false }));
  }

  /** Sessions that wait now. One whose client gives up counts until it is let go. */
  get held(): number {
    return this.#waiting.length;
  }

  /** The most that ever waited at once. */
  get mostHeld(): number {
    return this.#mostHeld;
  }

  /** From now on sessions wait at this stage. */
  holdAt(stage: SmtpStage): void {
    this.#heldStage = stage;
  }

  /** Lets the session go on that has waited longest, normally or as told. */
  letGo(behaviour?: Behaviour): void {
    this.#waiting.shift()?.(behaviour);
  }

  /** Lets all go on; nothing is held any more. */
  open(behaviour?: Behaviour): void {
    this.#heldStage = undefined;
    while (this.#waiting.length > 0) this.letGo(behaviour);
  }

  /** What is done at stages where nothing waits. */
  answerBy(decide: Decide): void {
    this.#decide = decide;
  }

  /** When a recipient was tried. */
  triedAtMs(recipient: string): readonly number[] {
    return this.arrivals.filter((each) => each.recipient === recipient).map(({ atMs }) => atMs);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.server[Symbol.asyncDispose]();
  }

  async #act(event: StageEvent): Promise<Behaviour | undefined> {
    if (event.stage === "rcpt") {
      this.arrivals.push({ recipient: event.recipient, atMs: Date.now() });
    }
    if (event.stage !== this.#heldStage) return await this.#decide(event);
    return await new Promise((resolve) => {
      this.#waiting.push(resolve);
      this.#mostHeld = Math.max(this.#mostHeld, this.#waiting.length);
    });
  }
}
