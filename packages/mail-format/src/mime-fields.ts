/**
 * The two header fields that say how the body of an entity is made: Content-Type and Content-Transfer-Encoding.
 *
 * Read as leniently as Postfix reads them: what makes no sense counts as if it were not there. Of parameters only
 * `boundary` is of interest. Departs: a boundary that is cut into numbered pieces (RFC 2231) is put together, since mail
 * readers do so.
 *
 * Source: RFC 2045 §5.1, §6; RFC 2046 §5; RFC 2231 §3; Postfix src/global/mime_state.c.
 */

/**
 * multipart: parts between boundaries. message: a message with headers of its own (message/rfc822). global: the same in
 * UTF-8, which may be encoded as a whole. leaf: all else, message/partial and the like included.
 */
export type EntityKind = "leaf" | "message" | "global" | "multipart";

export type ContentType = {
  readonly kind: EntityKind;
  /** multipart/digest: its parts are messages unless they say otherwise. */
  readonly isDigest: boolean;
  /** In order. More than one is wrong, but then any of them may divide the parts. */
  readonly boundaries: readonly string[];
};

/** none: not said, or not understood. `encoded` ones hold 7-bit data by their nature. */
export type TransferEncoding = "none" | "7bit" | "8bit" | "binary" | "quoted-printable" | "base64";

export const plainText: ContentType = { kind: "leaf", isDigest: false, boundaries: [] };
export const nestedMessage: ContentType = { kind: "message", isDigest: false, boundaries: [] };

/** @param value of a Content-Type field, line breaks and all */
export function parseContentType(value: string): ContentType {
  const [type = "", ...parameters] = splitParameters(value);
  const [main = "", sub = ""] = type
    .toLowerCase()
    .split("/", 2)
    .map((part) => part.trim());
  if (main === "multipart") {
    return { kind: "multipart", isDigest: sub === "digest", boundaries: boundariesOf(parameters) };
  }
  if (main !== "message") return plainText;
  if (sub === "rfc822") return nestedMessage;
  return sub === "global" ? { ...plainText, kind: "global" } : plainText;
}

const encodings: ReadonlySet<string> = new Set<TransferEncoding>([
  "7bit",
  "8bit",
  "binary",
  "quoted-printable",
  "base64",
]);

/** @param value of a Content-Transfer-Encoding field */
export function parseTransferEncoding(value: string): TransferEncoding {
  const [word = ""] = splitParameters(value);
  const name = word.toLowerCase();
  return isEncoding(name) ? name : "none";
}

function isEncoding(name: string): name is TransferEncoding {
  return encodings.has(name);
}

function boundariesOf(parameters: readonly string[]): readonly string[] {
  const found: string[] = [];
  const pieces: { readonly number: number; readonly text: string }[] = [];
  for (const parameter of parameters) {
    const match = /^boundary(?:\*(\d{1,3}))?(\*)?\s*=\s*(.*)$/is.exec(parameter);
    if (match === null) continue;
    const [, number, extended, value = ""] = match;
    const text = extended === undefined ? value : decodeExtended(value);
    if (text === "") continue;
    if (number === undefined) found.push(text);
    else pieces.push({ number: Number(number), text });
  }
  if (pieces.length === 0) return found;
  const ordered = pieces.toSorted((one, other) => one.number - other.number);
  return [...found, ordered.map(({ text }) => text).join("")];
}

/** charset'language'text with %XX, the first two in the first piece only. Source: RFC 2231 §4. */
function decodeExtended(value: string): string {
  return value
    .replace(/^[^']*'[^']*'/, "")
    .replaceAll(/%([\dA-F]{2})/gi, (_, hex: string) =>
      String.fromCharCode(Number.parseInt(hex, 16)),
    );
}

/** Cuts at semicolons; comments go, quotes are taken off, line breaks and outer blanks too. */
function splitParameters(value: string): readonly string[] {
  const parts: string[] = [];
  let part = "";
  let isQuoted = false;
  let commentDepth = 0;
  for (let position = 0; position < value.length; position++) {
    const character = value.charAt(position);
    if (character === "\r" || character === "\n") continue;
    if (character === "\\" && (isQuoted || commentDepth > 0)) {
      position++;
      if (isQuoted) part += value.charAt(position);
    } else if (isQuoted) {
      if (character === '"') isQuoted = false;
      else part += character;
    } else if (commentDepth > 0) {
      if (character === "(") commentDepth++;
      else if (character === ")") commentDepth--;
    } else if (character === '"') isQuoted = true;
    else if (character === "(") commentDepth++;
    else if (character === ";") {
      parts.push(part.trim());
      part = "";
    } else part += character;
  }
  return [...parts, part.trim()];
}
