/**
 * Plays up to so many rounds, until one is good: where a busy machine makes a round worse, and chance makes none as good
 * as what is tested.
 *
 * @param isBetter which of the others to give when none is good; default: the last
 */
export async function firstGood<T>(
  mostRounds: number,
  play: () => Promise<T>,
  isGood: (round: T) => boolean,
  isBetter: (round: T, other: T) => boolean = () => true,
): Promise<T> {
  let best = await play();
  for (let played = 1; played < mostRounds && !isGood(best); played += 1) {
    const next = await play();
    if (isGood(next) || isBetter(next, best)) best = next;
  }
  return best;
}
