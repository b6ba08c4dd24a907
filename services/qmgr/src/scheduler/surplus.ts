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

type Count = {
  away: number;
  called: number;
  /** Sent away since they were called, which the answer to the call may not count. */
  since: number;
};

/** What waits in deferred for room, by the name of whose room it is. */
export class Surplus {
  readonly #share: number;
  /** Messages not in active, and those of them that were called back and are still to be imported. */
  readonly #away = new Map<string, Count>();

  constructor(share: number) {
    this.#share = share;
  }

  /** Messages of it that are not in active. */
  of(name: string): number {
    return this.#away.get(name)?.away ?? 0;
  }

  /** @param known what an earlier leader counted */
  add(name: string, known = 1): void {
    const count = this.#away.get(name) ?? { away: 0, called: 0, since: 0 };
    count.away += known;
    count.since += known;
    this.#away.set(name, count);
  }

  /** One of them is in active again. @returns false: none of it was away. */
  cameBack(name: string): boolean {
    const count = this.#away.get(name);
    if (count === undefined) return false;
    count.away -= 1;
    count.called = Math.max(0, count.called - 1);
    this.#forgetIfNone(name, count);
    return true;
  }

  /**
   * Whose messages may come back now; `recalled` must follow for each.
   *
   * @param heldBy messages of a name in active
   * @param room messages that active has room for, those called before aside
   * @param isUrgent also where only a little room is free
   */
  takeRecalls(
    heldBy: (name: string) => number,
    room: number,
    isUrgent: boolean,
  ): readonly Recall[] {
    const recalls: Recall[] = [];
    let left = room;
    for (const { called } of this.#away.values()) left -= called;
    for (const [name, { away, called }] of this.#away) {
      const held = heldBy(name) + called;
      const isWorthwhile = isUrgent || held <= this.#share / 2;
      const most = Math.min(away - called, this.#share - held, left);
      if (!isWorthwhile || most <= 0) continue;
      left -= most;
      recalls.push({ name, most });
    }
    for (const { name } of recalls) this.#askedFor(name);
    return recalls;
  }

  /** So many of them are due now, and so many still wait. */
  recalled(name: string, { found, left }: { readonly found: number; readonly left: number }): void {
    const count = this.#away.get(name);
    if (count === undefined) return;
    count.called += found;
    count.away = count.called + left + count.since;
    this.#forgetIfNone(name, count);
  }

  /** All that was due has been looked at: who was called and did not come is elsewhere. @returns whose counts changed */
  allCame(): readonly string[] {
    const changed: string[] = [];
    for (const [name, count] of this.#away) {
      if (count.called === 0) continue;
      count.away -= count.called;
      count.called = 0;
      this.#forgetIfNone(name, count);
      changed.push(name);
    }
    return changed;
  }

  /** Whoever was called goes last the next time: others get room before. */
  #askedFor(name: string): void {
    const count = this.#away.get(name);
    if (count === undefined) return;
    count.since = 0;
    this.#away.delete(name);
    this.#away.set(name, count);
  }

  #forgetIfNone(name: string, { away }: { readonly away: number }): void {
    if (away <= 0) this.#away.delete(name);
  }
}
