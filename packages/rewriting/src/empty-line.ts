/** Whether the bytes start with an empty line: the end of the headers, or a message without any. */
export function startsWithEmptyLine(bytes: Buffer): boolean {
  return bytes[0] === 0x0d && bytes[1] === 0x0a;
}
