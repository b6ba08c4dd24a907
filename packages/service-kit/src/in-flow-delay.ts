/**
 * Slows the intake of mail while the scheduler is behind with it: each message waits for an in-flow token, for
 * in_flow_delay at most, and then goes on.
 *
 * It slows and never blocks: a client is at most one message per in_flow_delay faster than the scheduler, whatever it
 * sends, and no message is refused for it. While anybody waits the process asks every 20 ms how many tokens there are,
 * and lets as many go, first come first; what comes meanwhile waits behind them. While nobody waits it asks nothing.
 *
 * Source: spec S33; postconf(5) in_flow_delay; cleanup(8).
 */
const askEveryMs = 20;

/** Who knows whether tokens are left. */
export type Flow = {
  /** Costs nothing. */
  flowIsDry(): boolean;
  /** How many are left; a round trip. Never rejects. */
  flowTokens(): Promise<number>;
};

export class InFlowDelay {
  readonly #delayMs: number;
  readonly #flow: Flow;
  /** In the order in which they came. */
  readonly #waits = new Set<() => void>();
  /** The next question, or the one that is being asked. */
  #asking: NodeJS.Timeout | undefined;
  #askedAtMs = Number.NEGATIVE_INFINITY;
  #hasEnded = false;

  /** @param delayMs in_flow_delay; 0: nothing ever waits */
  constructor(delayMs: number, flow: Flow) {
    this.#delayMs = delayMs;
    this.#flow = flow;
  }

  /** The wait of one message, or undefined when there is none. It never rejects. */
  wait(): Promise<void> | undefined {
    if (this.#delayMs === 0 || this.#hasEnded) return undefined;
    if (this.#waits.size === 0 && !this.#flow.flowIsDry()) return undefined;
    return new Promise((resolve) => {
      const go = () => {
        clearTimeout(timer);
        this.#waits.delete(go);
        resolve();
      };
      const timer = setTimeout(go, this.#delayMs);
      this.#waits.add(go);
      this.#askSoon();
    });
  }

  /** Ends all waits, and lets none begin: the process is to end. */
  end(): void {
    this.#hasEnded = true;
    clearTimeout(this.#asking);
    for (const go of this.#waits) go();
  }

  #askSoon(): void {
    if (this.#asking !== undefined || this.#waits.size === 0) return;
    const restMs = this.#askedAtMs + askEveryMs - performance.now();
    // It never rejects, as `flowTokens` does not.
    this.#asking = setTimeout(() => void this.#ask(), Math.max(0, restMs));
  }

  async #ask(): Promise<void> {
    if (this.#waits.size > 0) {
      this.#askedAtMs = performance.now();
      const tokens = await this.#flow.flowTokens();
      for (const go of [...this.#waits].slice(0, tokens)) go();
    }
    this.#asking = undefined;
    this.#askSoon();
  }
}
