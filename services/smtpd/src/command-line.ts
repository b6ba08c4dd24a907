/**
 * Takes SMTP command lines apart: verb and rest, and for MAIL and RCPT the path and the parameters.
 *
 * smtp-server's own parser is not used: it folds recipients by letter case, turns xn-- domains into Unicode and
 * refuses quoted local parts.
 *
 * Source: RFC 5321 §4.1.1, §4.1.2, §4.1.1.11; spec V6.
 */
import { parseSmtpPath } from "@postmq/mail-format";

export type CommandLine = {
  /** In capitals; empty for an empty line. */
  readonly verb: string;
  /** What follows the verb, without outer blanks. */
  readonly rest: string;
};

export function splitCommand(line: string): CommandLine {
  const text = line.trim();
  const end = text.search(/[ \t]/);
  return end < 0
    ? { verb: text.toUpperCase(), rest: "" }
    : { verb: text.slice(0, end).toUpperCase(), rest: text.slice(end).trim() };
}

export type PathCommand = {
  /** The address, empty for `<>`; undefined when it is malformed. */
  readonly address: string | undefined;
  readonly parameters: readonly EsmtpParameter[];
};

export type EsmtpParameter = {
  /** In capitals. */
  readonly keyword: string;
  /** undefined: there was no "=". */
  readonly value: string | undefined;
};

/** What follows MAIL or RCPT; undefined when the keyword ("FROM:", "TO:") or the path is missing. */
export function parsePathCommand(rest: string, keyword: "FROM:" | "TO:"): PathCommand | undefined {
  if (rest.slice(0, keyword.length).toUpperCase() !== keyword) return undefined;
  const text = rest.slice(keyword.length).trimStart();
  const end = pathEnd(text);
  if (end === 0) return undefined;
  return {
    address: parseSmtpPath(text.slice(0, end)),
    parameters: end === text.length ? noParameters : parseParameters(text.slice(end)),
  };
}

const noParameters: readonly EsmtpParameter[] = [];

/** One past the path: its closing bracket or, where it has no brackets, the next blank; both outside quotes. */
function pathEnd(text: string): number {
  const isBracketed = text.startsWith("<");
  let isQuoted = false;
  for (let position = 0; position < text.length; position++) {
    const character = text[position];
    if (isQuoted && character === "\\") position++;
    else if (character === '"') isQuoted = !isQuoted;
    else if (!isQuoted && isBracketed && character === ">") return position + 1;
    else if (!isQuoted && !isBracketed && (character === " " || character === "\t"))
      return position;
  }
  return text.length;
}

function parseParameters(text: string): readonly EsmtpParameter[] {
  return text
    .split(/[ \t]+/)
    .filter((word) => word !== "")
    .map((word) => {
      const equals = word.indexOf("=");
      return equals < 0
        ? { keyword: word.toUpperCase(), value: undefined }
        : { keyword: word.slice(0, equals).toUpperCase(), value: word.slice(equals + 1) };
    });
}
