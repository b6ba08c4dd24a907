/**
 * Content for a terminal: what could drive it (control characters but tab and line feed, C1 in UTF-8 too) becomes `?`.
 *
 * Departs: Postfix's postcat prints content as it is, to terminals too.
 */
export function terminalSafe(bytes: Buffer): Buffer {
  const safe = Buffer.from(bytes);
  for (const [at, byte] of bytes.entries()) {
    if (isControl(byte)) safe[at] = questionMark;
    if (byte !== c1Lead || !isC1Tail(bytes[at + 1])) continue;
    safe[at] = questionMark;
    safe[at + 1] = questionMark;
  }
  return safe;
}

const questionMark = 0x3f;
const c1Lead = 0xc2;

function isControl(byte: number): boolean {
  return (byte < 0x20 && byte !== 0x09 && byte !== 0x0a) || byte === 0x7f;
}

function isC1Tail(byte: number | undefined): boolean {
  return byte !== undefined && byte >= 0x80 && byte < 0xa0;
}
