/**
 * How many recipients of a huge message may be read into memory now.
 *
 * A message's first batch comes with its import; later ones come from the pool of its transport, while earlier ones are
 * being delivered, so that a message of 100 000 recipients never holds more than some thousands of them and still
 * never runs dry. A message that has overtaken another may also use half of what is left of the extra pool.
 *
 * Source: spec scheduling.md §1 "Limits"; Postfix src/qmgr/qmgr_message.c qmgr_message_realloc; postconf(5)
 * default_recipient_limit, default_extra_recipient_limit, default_recipient_refill_limit, default_recipient_refill_delay.
 */
export type PoolRules = {
  /** recipient_limit of the transport. */
  readonly recipientLimit: number;
  /** extra_recipient_limit. */
  readonly extraLimit: number;
  /** recipient_refill_limit: a refill is worth while from so many on. */
  readonly refillLimit: number;
  /** recipient_refill_delay: or after so long. */
  readonly refillDelayMs: number;
};

/** Recipients of one message in memory, and in one batch, at most. */
export const recipientBatch = 5000;

export type Refill = {
  /** Recipients in memory: of the message's transport, and of the message. */
  readonly ofTransport: number;
  readonly ofMessage: number;
  readonly isOvertaking: boolean;
  readonly lastRefillMs: number;
};

/** 0: not now. */
export function refillSize(refill: Refill, rules: PoolRules, nowMs: number): number {
  const left = rules.recipientLimit - refill.ofTransport;
  const extra = refill.isOvertaking
    ? Math.floor(Math.max(0, rules.extraLimit + Math.min(0, left)) / 2)
    : 0;
  const room = Math.min(Math.max(0, left) + extra, recipientBatch - refill.ofMessage);
  const isWorthwhile =
    room >= rules.refillLimit || nowMs >= refill.lastRefillMs + rules.refillDelayMs;
  return room > 0 && isWorthwhile ? room : 0;
}
