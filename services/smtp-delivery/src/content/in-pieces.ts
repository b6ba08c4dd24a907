/**
 * Content in small pieces, for work on it that is done line by line.
 *
 * Such work costs by lines, so a chunk of empty ones may cost a hundred times as much as one of ordinary text. What holds
 * the event loop holds every other delivery of the process, with its deadlines: after so many milliseconds the others have
 * their turn. Small content meets no turn at all.
 */
import { setImmediate as nextTurn } from "node:timers/promises";

/** Even in empty lines, worked on in every way there is, this takes some ten milliseconds. */
const pieceBytes = 4_096;
const longestMs = 5;

export async function* inPieces(
  content: AsyncIterable<Buffer> | Iterable<Buffer>,
): AsyncGenerator<Buffer> {
  let turnStartMs = performance.now();
  for await (const chunk of content) {
    for (let at = 0; at < chunk.length; at += pieceBytes) {
      if (performance.now() - turnStartMs > longestMs) {
        await nextTurn();
        turnStartMs = performance.now();
      }
      yield chunk.subarray(at, at + pieceBytes);
    }
  }
}
