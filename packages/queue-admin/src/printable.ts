/**
 * The text with everything that could drive a terminal made `?`: control characters and what is not Unicode.
 *
 * Source: spec admin-tools.md §1 "non-printables '?'"; Postfix src/util/printable.c.
 */
export function printable(text: string): string {
  return text.toWellFormed().replaceAll(/[\p{Cc}\uFFFD\u2028\u2029]/gu, "?");
}
