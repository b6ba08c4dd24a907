import type { CommandContext } from "./command.ts";

const blockLength = 32 * 1024;

/** Prints many short texts, a block of them at a time: a write each would cost more than all the rest. */
export async function streamTexts(
  texts: AsyncIterable<string>,
  stream: CommandContext["stream"],
): Promise<void> {
  let block = "";
  for await (const text of texts) {
    block += text;
    if (block.length < blockLength) continue;
    await stream(block);
    block = "";
  }
  if (block !== "") await stream(block);
}
