/**
 * The text of a lookup table: a key, white space, a value; one entry a line.
 *
 * Lines that begin with white space continue the one before; lines whose first character other than white space is
 * `#` are skipped. Keys fold to lower case, values keep their case. Of two entries for one key the first counts, as
 * postmap has it.
 *
 * Source: postmap(1) "table format"; spec rewriting-and-checks.md §7.
 */

export type ParsedTable = {
  readonly entries: ReadonlyMap<string, string>;
  /** What an operator should know: lines without a value, keys that appear twice. */
  readonly warnings: readonly string[];
};

export function parseTable(content: string, fileName: string): ParsedTable {
  const entries = new Map<string, string>();
  const warnings: string[] = [];
  for (const { line, text } of logicalLines(content)) {
    const match = /^("(?:[^"\\]|\\.)*"|\S+)\s+(\S.*?)\s*$/s.exec(text);
    const key = match?.[1] === undefined ? undefined : unquote(match[1]).toLowerCase();
    if (key === undefined) {
      warnings.push(`${fileName}, line ${line}: expected: key whitespace value`);
    } else if (entries.has(key)) {
      warnings.push(`${fileName}, line ${line}: duplicate entry: "${key}"`);
    } else {
      entries.set(key, match?.[2] ?? "");
    }
  }
  return { entries, warnings };
}

/** Whole entries with the number of the line they begin on. */
export function logicalLines(
  content: string,
): readonly { readonly line: number; readonly text: string }[] {
  const lines: { line: number; text: string }[] = [];
  for (const [index, line] of content.split(/\r?\n/).entries()) {
    if (/^\s*(?:#|$)/.test(line)) continue;
    const last = lines.at(-1);
    if (/^\s/.test(line) && last !== undefined) last.text += line;
    else lines.push({ line: index + 1, text: line.trimStart() });
  }
  return lines;
}

/** A key in double quotes may hold white space: "john doe"@example.com. */
function unquote(key: string): string {
  return key.startsWith('"') ? key.slice(1, -1).replaceAll(/\\(.)/g, "$1") : key;
}
