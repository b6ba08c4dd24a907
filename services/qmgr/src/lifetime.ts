/** When a message that can't be delivered is given up. */

export type LifetimeLimits = {
  /** maximal_queue_lifetime. 0: one attempt only. */
  readonly maximalMs: number;
  /** bounce_queue_lifetime, for mail from the null sender; never above the other. */
  readonly bounceMs: number;
};

/**
 * Whether a message has been tried for long enough. To be asked only after an attempt left something to retry:
 * nothing expires while it lies in a queue, and even a very old message gets its one attempt first (S11).
 *
 * Source: spec S10; postconf(5) maximal_queue_lifetime, bounce_queue_lifetime.
 */
export function isExpired(
  message: { readonly createdMs: number; readonly sender: string },
  nowMs: number,
  limits: LifetimeLimits,
): boolean {
  const lifetimeMs =
    message.sender === "" ? Math.min(limits.bounceMs, limits.maximalMs) : limits.maximalMs;
  return nowMs >= message.createdMs + lifetimeMs;
}
