/**
 * Rewrites the addresses in a header, and nothing else in it: names, comments, groups, blanks and line breaks stay where
 * they are.
 *
 * Departs: Postfix writes a header anew once one of its addresses has changed, folded at 70 columns; here only the
 * addresses themselves are replaced.
 *
 * Source: Postfix src/smtp/smtp_proto.c smtp_header_rewrite, src/global/header_opts.c; RFC 5322 §3.4.
 */
import { parseAddress } from "@postmq/mail-format";

/** Headers whose addresses are rewritten. Source: Postfix src/global/header_opts.c (SENDER, RECIP). */
export const addressHeaders: ReadonlySet<string> = new Set([
  "apparently-to",
  "bcc",
  "cc",
  "disposition-notification-to",
  "errors-to",
  "from",
  "mail-followup-to",
  "reply-to",
  "resent-bcc",
  "resent-cc",
  "resent-from",
  "resent-reply-to",
  "resent-sender",
  "resent-to",
  "return-path",
  "return-receipt-to",
  "sender",
  "to",
]);

type Token = { readonly start: number; readonly end: number };

/** @param value of the header, as text; line breaks and all */
export function rewriteHeaderAddresses(
  value: string,
  rewrite: (address: string) => string,
): string {
  let result = "";
  let done = 0;
  for (const { start, end } of addressPlaces(value)) {
    const written = value.slice(start, end);
    const address = parseAddress(written);
    const rewritten = address === undefined ? undefined : rewrite(address);
    if (rewritten === undefined || rewritten === address) continue;
    result += value.slice(done, start) + rewritten;
    done = end;
  }
  return result + value.slice(done);
}

/** What stands between < and >, and what stands alone between commas. */
function addressPlaces(value: string): readonly Token[] {
  const places: Token[] = [];
  let words: Token[] = [];
  let hasAngle = false;
  const endMailbox = () => {
    // More than one word without < > is a name without an address, or "a @ b", which nobody writes.
    if (!hasAngle && words.length === 1) places.push(...words);
    words = [];
    hasAngle = false;
  };
  for (let at = 0; at < value.length;) {
    const character = value.charAt(at);
    if (character === "(") at = commentEnd(value, at);
    else if (/\s/.test(character)) at++;
    else if (character === "," || character === ";") {
      endMailbox();
      at++;
    } else if (character === ":") {
      // What came before was the name of a group.
      words = [];
      at++;
    } else if (character === "<") {
      const end = angleEnd(value, at);
      if (!hasAngle) places.push(withoutBlanks(value, { start: at + 1, end }));
      hasAngle = true;
      at = end + 1;
    } else {
      const end = wordEnd(value, at);
      words.push({ start: at, end });
      at = end;
    }
  }
  endMailbox();
  return places;
}

function withoutBlanks(value: string, { start, end }: Token): Token {
  const text = value.slice(start, end);
  const before = text.length - text.trimStart().length;
  return { start: start + before, end: start + text.trimEnd().length };
}

function commentEnd(value: string, start: number): number {
  let depth = 0;
  for (let at = start; at < value.length; at++) {
    const character = value.charAt(at);
    if (character === "\\") at++;
    else if (character === "(") depth++;
    else if (character === ")" && --depth === 0) return at + 1;
  }
  return value.length;
}

function quotedEnd(value: string, start: number): number {
  for (let at = start + 1; at < value.length; at++) {
    if (value[at] === "\\") at++;
    else if (value[at] === '"') return at + 1;
  }
  return value.length;
}

/** Where the > is. */
function angleEnd(value: string, start: number): number {
  for (let at = start + 1; at < value.length;) {
    if (value[at] === '"') at = quotedEnd(value, at);
    else if (value[at] === ">") return at;
    else at++;
  }
  return value.length;
}

/** Quoted strings and address literals belong to the word they stand in. */
function wordEnd(value: string, start: number): number {
  let at = start;
  while (at < value.length && !/[\s,;:<(]/.test(value.charAt(at))) {
    if (value[at] === '"') at = quotedEnd(value, at);
    else if (value[at] === "[") at = literalEnd(value, at);
    else at++;
  }
  return at === start ? start + 1 : at;
}

function literalEnd(value: string, start: number): number {
  const end = value.indexOf("]", start);
  return end < 0 ? value.length : end + 1;
}
