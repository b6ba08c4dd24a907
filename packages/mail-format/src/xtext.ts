/** The encoding of ENVID, ORCPT and AUTH values in SMTP commands. Source: RFC 3461 §4. */

/** Everything but printable ASCII, and '+' and '=', becomes +HH per UTF-8 byte. */
export function encodeXtext(text: string): string {
  let encoded = "";
  for (const byte of Buffer.from(text, "utf8")) {
    const isPlain = byte > 0x20 && byte < 0x7f && byte !== 0x2b && byte !== 0x3d;
    encoded += isPlain
      ? String.fromCharCode(byte)
      : `+${byte.toString(16).toUpperCase().padStart(2, "0")}`;
  }
  return encoded;
}

/** The decoded text; undefined when it is malformed, not UTF-8, or hides a control character (security.md 3). */
export function decodeXtext(text: string): string | undefined {
  if (!/^(?:[!-*,-<>-~]|\+[0-9A-F]{2})*$/.test(text)) return undefined;
  const bytes = text.replaceAll(/\+([0-9A-F]{2})/g, (_, hex: string) =>
    String.fromCharCode(Number.parseInt(hex, 16)),
  );
  const decoded = Buffer.from(bytes, "latin1").toString("utf8");
  return /[\p{Cc}\uFFFD]/u.test(decoded) ? undefined : decoded;
}
