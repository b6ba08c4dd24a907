/**
 * What was said in a session, for the postmaster: kept only where notices of protocol errors are wanted.
 *
 * Content is not in it. Of a login there are the mechanism and the codes of the replies, and nothing else: whoever sends or
 * receives says that it is one, nothing is guessed from what a server sends. Its size is bounded: the end of a long
 * session is what tells.
 *
 * Source: spec D9; security.md 14; postconf(5) notify_classes "protocol"; Postfix src/smtp/smtp_chat.c.
 */

const mostLines = 300;
/** In bytes of UTF-8, with what stands before it, no line of mail may pass 998. */
const longestLine = 240;

export class Transcript {
  readonly #lines: string[] = [];
  #lost = 0;

  /** Commands, one or several, as they are written. */
  out(text: string): void {
    for (const line of linesOf(text)) this.#add(` Out: ${line}`);
  }

  /** A reply, or a piece of one. */
  in(text: string): void {
    for (const line of linesOf(text)) this.#add(` In:  ${line}`);
  }

  /** A line of a login. */
  outSecret(line: string): void {
    this.#add(` Out: ${/^AUTH [A-Z0-9-]{1,20}/.exec(line)?.[0] ?? ""} (hidden)`);
  }

  /** A reply while a login is under way: it may repeat the secret. */
  inSecret(text: string): void {
    this.#add(` In:  ${/^\d{3}/.exec(text)?.[0] ?? ""} (hidden)`);
  }

  /** Lines without ends, oldest first. */
  get lines(): readonly string[] {
    return this.#lost === 0 ? this.#lines : [` (${this.#lost} lines before this)`, ...this.#lines];
  }

  #add(line: string): void {
    const printable = line.replaceAll(/[\p{Cc}\u2028\u2029]/gu, "?");
    this.#lines.push(printable.slice(0, longestLine));
    if (this.#lines.length <= mostLines) return;
    this.#lines.shift();
    this.#lost += 1;
  }
}

function linesOf(text: string): readonly string[] {
  return text.split(/\r?\n/).filter((line) => line !== "");
}
