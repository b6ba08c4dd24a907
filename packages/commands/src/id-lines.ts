/**
 * Queue ids from standard input, one a line, in batches: as many as have arrived, so that a slow pipe sees its first
 * ids dealt with at once, and never more than a script takes. Memory is constant, however long the input or a line.
 */
const newline = 0x0a;
/** Far longer than any id: the rest of such a line is dropped. */
const longestLine = 4096;

/** @param most lines in a batch */
export async function* idLines(
  input: AsyncIterable<Buffer>,
  most: number,
): AsyncGenerator<readonly string[], void, void> {
  let rest: Buffer = Buffer.alloc(0);
  for await (const chunk of input) {
    let batch: string[] = [];
    let from = 0;
    for (let to = chunk.indexOf(newline); to >= 0; to = chunk.indexOf(newline, from)) {
      batch.push(joined(rest, chunk.subarray(from, to)).toString());
      rest = Buffer.alloc(0);
      from = to + 1;
      if (batch.length < most) continue;
      yield batch;
      batch = [];
    }
    rest = joined(rest, chunk.subarray(from));
    if (batch.length > 0) yield batch;
  }
  if (rest.length > 0) yield [rest.toString()];
}

function joined(rest: Buffer, more: Buffer): Buffer {
  return Buffer.concat([rest, more.subarray(0, Math.max(longestLine - rest.length, 0))]);
}
