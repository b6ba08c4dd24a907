/**
 * Who holds more than their share of active, and whose messages wait in deferred until there is room again.
 *
 * A destination (or, with `fair_share_key`, a key) may hold a fifth of active. Further messages of it go back to
 * deferred without an attempt being counted, and come back, the longest waiting first, as its requests end. So no slow
 * destination fills active, and no flood of one sender's stands between another's mail and its turn.
 *
 * Departs from Postfix, which only warns.
 *
 * Source: spec S31.
 */
const partOfActive = 5;

export function shareOfActive(activeLimit: number): number {
  return Math.max(1, Math.floor(activeLimit / partOfActive));
}

/** Up to so many of its messages to bring back from deferred. */
export type Recall = { readonly name: string; readonly most: number };

/**
 * How many to bring back now.
 *
 * @param held messages of it in active
 * @param away messages of it in deferred that wait for room
 * @param isUrgent also when only a little room is free
 */
export function roomForRecall(
  { held, away, share }: { readonly held: number; readonly away: number; readonly share: number },
  isUrgent: boolean,
): number {
  const room = Math.min(away, share - held);
  const isWorthwhile = isUrgent || held <= share / 2;
  return isWorthwhile ? Math.max(0, room) : 0;
}
