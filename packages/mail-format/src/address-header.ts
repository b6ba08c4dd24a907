/**
 * Addresses in header fields such as To.
 *
 * The list is cut at its commas here and each part is read by nodemailer's addressparser (names, comments, quoted
 * local parts; linear time). The whole list is not left to addressparser: it takes `root, Bob <bob@example.com>` for one
 * mailbox of a person named "root, Bob", and a recipient would be lost.
 *
 * Source: RFC 5322 §3.4.
 */
import addressparser from "nodemailer/lib/addressparser";
import { parseAddress } from "./smtp-path.ts";

/**
 * The addresses of a header's value, in order, groups opened, display names and comments left out.
 *
 * A well-formed one comes in the form we keep (see smtp-path.ts); a malformed one comes as it was written, so that
 * the caller can say which address is wrong instead of losing it.
 */
export function parseAddressHeader(value: string): string[] {
  return splitList(value)
    .flatMap((part) => addressparser(part, { flatten: true }))
    .map((entry) => (entry.address === "" ? entry.name : entry.address).trim())
    .filter((text) => text !== "")
    .map((text) => parseAddress(text) ?? text);
}

/** What opens a stretch in which commas and colons mean nothing, and what closes it. */
const closers: Readonly<Record<string, string>> = { "<": ">", "[": "]" };

/** Cuts at commas, and at the colon and semicolon of groups, whose names are left out. */
function splitList(value: string): string[] {
  const parts: string[] = [];
  let start = 0;
  let isQuoted = false;
  let commentDepth = 0;
  let closer: string | undefined;
  for (let position = 0; position < value.length; position++) {
    const character = value.charAt(position);
    if (character === "\\") position++;
    else if (isQuoted) isQuoted = character !== '"';
    else if (commentDepth > 0 || character === "(") {
      if (character === "(") commentDepth++;
      else if (character === ")") commentDepth--;
    } else if (character === '"') isQuoted = true;
    else if (closer !== undefined) {
      if (character === closer) closer = undefined;
    } else if (character === "," || character === ";") {
      parts.push(value.slice(start, position));
      start = position + 1;
    } else if (character === ":") start = position + 1;
    else closer = closers[character];
  }
  return [...parts, value.slice(start)];
}
