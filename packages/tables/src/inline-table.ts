/**
 * A table written where it is named: `inline:{key = value, {key = value with white space}, ...}`.
 *
 * Source: DATABASE_README "inline"; spec rewriting-and-checks.md §7.
 */

/** @throws RangeError saying what is wrong with the text after `inline:`. */
export function parseInlineTable(text: string): ReadonlyMap<string, string> {
  if (!text.startsWith("{") || !text.endsWith("}")) {
    throw new RangeError("an inline table is written {key=value, ...}");
  }
  const entries = new Map<string, string>();
  for (const item of splitItems(text.slice(1, -1))) {
    const pair = item.startsWith("{") ? item.slice(1, -1).trim() : item;
    const match = /^(\S+?)\s*=\s*(.*)$/s.exec(pair);
    const key = match?.[1];
    if (key === undefined) throw new RangeError(`"${item}" is not key=value`);
    if (match?.[2] === undefined || match[2] === "") throw new RangeError(`"${key}" has no value`);
    entries.set(key.toLowerCase(), match[2].trim());
  }
  if (entries.size === 0) throw new RangeError("an inline table needs at least one key=value");
  return entries;
}

/** Items at the outer level, separated by commas or white space; white space may stand around a bare `=`. */
function splitItems(text: string): readonly string[] {
  const items: string[] = [];
  let depth = 0;
  let item = "";
  const characters = text.split("");
  for (const [index, character] of characters.entries()) {
    if (character === "{") depth += 1;
    if (character === "}") depth -= 1;
    if (depth < 0) throw new RangeError("a closing brace has no opening one");
    const isSeparator = depth === 0 && /[\s,]/.test(character);
    if (!isSeparator) {
      item += character;
    } else if (item !== "" && !isAroundEquals(item, text.slice(index))) {
      items.push(item);
      item = "";
    }
  }
  if (depth !== 0) throw new RangeError("an opening brace has no closing one");
  if (item !== "") items.push(item);
  return items;
}

/** Whether the white space between an item so far and the rest stands beside the item's `=`. */
function isAroundEquals(item: string, rest: string): boolean {
  if (item.startsWith("{")) return false;
  return /^\s+=/.test(rest) || (item.indexOf("=") === item.length - 1 && /^\s+[^\s,]/.test(rest));
}
