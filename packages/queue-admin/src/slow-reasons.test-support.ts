/** A pattern of many states, and reasons that are new to it at every character: some milliseconds for each. */
import { seededRandom } from "@postmq/testing";

export const slowPattern = "[ab].{90}[cd].{90}[xyz]";

export function slowReasons(count: number): readonly string[] {
  const random = seededRandom(count);
  const letters = ["a", "b", "c", "d", "e", "f", "g", "h"] as const;
  return Array.from({ length: count }, () =>
    Array.from({ length: 1000 }, () => random.pick(letters)).join(""),
  );
}
