/**
 * What was said in a session, for the postmaster: kept only where notices of protocol errors are wanted.
 *
 * Content is not in it, and neither is what follows AUTH. Its size is bounded: the end of a long session is what tells.
 *
 * Source: spec D9; postconf(5) notify_classes "protocol"; Postfix src/smtp/smtp_chat.c.
 */

const mostLines = 300;
const longestLine = 1_000;

export class Transcript {
  readonly #lines: string[] = [];
  #isLoggingIn = false;
  #lost = 0;

  /** Commands, one or several, as they are written. */
  out(text: string): void {
    for (const line of linesOf(text)) {
      if (/^AUTH\b/i.test(line)) this.#isLoggingIn = true;
      this.#add(
        ` Out: ${this.#isLoggingIn ? line.replace(/^(AUTH \S+)?.*/i, "$1 (hidden)") : line}`,
      );
    }
  }

  /** A reply as it came. */
  in(text: string): void {
    for (const line of linesOf(text)) this.#add(` In:  ${line}`);
    // 334 asks for more of the secret.
    if (!text.startsWith("334")) this.#isLoggingIn = false;
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
