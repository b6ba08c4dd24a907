/** Time as decisions see it: passed in, so that tests need no waiting. */
export type Clock = {
  /** Milliseconds since the epoch, as Redis TIME tells it wherever a store is at hand (DESIGN §4). */
  nowMs(): number;
};

/** This machine's clock. For processes that have no store at hand, and for measuring spans. */
export const systemClock: Clock = { nowMs: () => Date.now() };
