/**
 * What this process knows of in-flow tokens: the answer of its last commit, for a second (S33).
 *
 * The tokens themselves are counted in Redis by the scripts that move mail into incoming and out of it: see
 * lua/include/flow.lua. Whoever takes mail in asks here before the next message, and waits in_flow_delay when it is dry.
 *
 * Source: spec S33, S34; qmgr(8) and cleanup(8) "in_flow_delay".
 */
const rememberedMs = 1000;

export class InFlow {
  #dryAtMs = Number.NEGATIVE_INFINITY;

  /** @param isDry what a script answered: it left no token. */
  note(isDry: boolean): void {
    this.#dryAtMs = isDry ? performance.now() : Number.NEGATIVE_INFINITY;
  }

  isDry(): boolean {
    return performance.now() - this.#dryAtMs < rememberedMs;
  }
}
