/**
 * Slows the intake of mail while the scheduler is behind with it: each message waits in_flow_delay, and then goes on.
 *
 * It slows and never blocks: a client is at most one message per in_flow_delay faster than the scheduler, whatever it
 * sends, and no message is refused for it. Each message waits by itself; the others of the process are not held up.
 *
 * Source: spec S33; postconf(5) in_flow_delay; cleanup(8).
 */

/** Who knows whether tokens are left. */
export type Flow = { flowIsDry(): boolean };

export class InFlowDelay {
  readonly #delayMs: number;
  readonly #flow: Flow;
  readonly #waits = new Set<() => void>();
  #hasEnded = false;

  /** @param delayMs in_flow_delay; 0: nothing ever waits */
  constructor(delayMs: number, flow: Flow) {
    this.#delayMs = delayMs;
    this.#flow = flow;
  }

  /** The wait of one message, or undefined when there is none. It never rejects. */
  wait(): Promise<void> | undefined {
    if (this.#delayMs === 0 || this.#hasEnded || !this.#flow.flowIsDry()) return undefined;
    return new Promise((resolve) => {
      const go = () => {
        clearTimeout(timer);
        this.#waits.delete(go);
        resolve();
      };
      const timer = setTimeout(go, this.#delayMs);
      this.#waits.add(go);
    });
  }

  /** Ends all waits, and lets none begin: the process is to end. */
  end(): void {
    this.#hasEnded = true;
    for (const go of this.#waits) go();
  }
}
