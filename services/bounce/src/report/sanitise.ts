/**
 * Text from outside on its way into a header or a report: nothing in it can end a line or start a field.
 *
 * Source: spec security.md 3; RFC 5322 §2.1.1 (998 characters), RFC 3464 §2.1.1 (fields are ASCII), RFC 6533 §3.
 */

/** Control characters become '?', and without SMTPUTF8 so does everything beyond ASCII. */
export function oneLine(text: string, mayBeUtf8: boolean): string {
  const printable = text.replaceAll(/[\p{Cc}\u2028\u2029]/gu, "?");
  return mayBeUtf8 ? printable : printable.replaceAll(/[^\u0020-\u007e]/gu, "?");
}

const wrapColumns = 79;
/** A word of more bytes is broken: no line may pass 998. */
const longestWordBytes = 900;
const longestCharacterBytes = 4;
/** More blanks in a row say no more, and a line of blanks alone may be taken for the end of the fields. */
const blankRun = / {70,}/g;

/** Breaks a line at blanks before column 79; further lines are indented by 4. Source: delivery.md §9 "Format". */
export function wrap(text: string): string {
  const lines: string[] = [];
  let line = "";
  const words = text.replaceAll(blankRun, " ".repeat(70)).trimEnd().split(" ");
  for (const word of words.flatMap(breakWord)) {
    const longer = line === "" ? word : `${line} ${word}`;
    if (line.trim() !== "" && longer.length > wrapColumns) {
      lines.push(line);
      line = `    ${word}`;
    } else {
      line = longer;
    }
  }
  lines.push(line);
  return lines.join("\r\n");
}

/** As it is, since blanks in it may stand between quotes, unless no line can hold it. */
export function wrapOnlyIfTooLong(text: string): string {
  return Buffer.byteLength(text) > longestWordBytes ? wrap(text) : text;
}

function breakWord(word: string): readonly string[] {
  if (Buffer.byteLength(word) <= longestWordBytes) return [word];
  const characters = longestWordBytes / longestCharacterBytes;
  return word.match(new RegExp(`.{1,${characters}}`, "gsu")) ?? [word];
}
