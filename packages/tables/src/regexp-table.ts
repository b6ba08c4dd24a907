/**
 * Tables of patterns, in Postfix's language: `/pattern/flags result`, `!/pattern/flags result`, `if /pattern/flags` …
 * `endif`; `$1` in a result is what the first group matched. The first pattern that matches the whole key answers.
 *
 * Patterns run in a linear engine (re2js), so no pattern and no input can stall a daemon. Departs: neither
 * back-references nor look-around (PCRE) exist in it, nor basic syntax (regexp flag x), nor pcre's flags x, A, E, U, X: a
 * table with one of those is refused with its line. `regexp:` finds the leftmost longest match as POSIX does, `pcre:` the
 * first.
 *
 * Source: regexp_table(5), pcre_table(5); spec rewriting-and-checks.md §4, §7; security.md 6.
 */
import { RE2JS } from "re2js";

import { logicalLines } from "./table-text.ts";

export type PatternLanguage = "regexp" | "pcre";

type Rule = {
  readonly pattern: RE2JS;
  readonly isNegated: boolean;
} & (
  | { readonly kind: "result"; readonly result: string }
  /** `end`: the rule after its `endif`. */
  | { readonly kind: "if"; end: number }
);

export class RegexpTable {
  readonly #rules: readonly Rule[];

  /** @throws RangeError naming the line that makes no sense. */
  constructor(text: string, language: PatternLanguage) {
    this.#rules = parseRules(text, language);
  }

  lookup(key: string): string | undefined {
    for (let at = 0; at < this.#rules.length; at++) {
      const rule = this.#rules[at];
      if (rule === undefined) break;
      const isHit = rule.pattern.test(key) !== rule.isNegated;
      if (rule.kind === "if") {
        if (!isHit) at = rule.end - 1;
      } else if (isHit) {
        return rule.isNegated ? rule.result.replaceAll("$$", "$") : substitute(rule, key);
      }
    }
    return undefined;
  }

  /** The results as they are written. */
  values(): readonly string[] {
    return this.#rules.flatMap((rule) => (rule.kind === "result" ? [rule.result] : []));
  }
}

const substitution = /\$(?:\$|(\d{1,2})|\{(\d{1,2})\}|\((\d{1,2})\))/g;

function substitute({ pattern, result }: Rule & { readonly kind: "result" }, key: string): string {
  if (!result.includes("$")) return result;
  const matcher = pattern.matcher(key);
  if (!matcher.find()) return result;
  return result.replaceAll(
    substitution,
    (whole, bare?: string, braced?: string, bracketed?: string) =>
      whole === "$$" ? "$" : (matcher.group(Number(bare ?? braced ?? bracketed)) ?? ""),
  );
}

/** Rules of an inline table: `{ {rule} {rule} }`. */
export function inlineRules(text: string): string {
  const match = /^\{(.*)\}$/s.exec(text);
  if (match?.[1] === undefined)
    throw new RangeError("an inline table is written {{rule} {rule} ...}");
  const rules: string[] = [];
  let depth = 0;
  let rule = "";
  for (const character of match[1]) {
    if (character === "}") depth -= 1;
    if (depth > 0) rule += character;
    else if (character === "}") {
      rules.push(rule.trim());
      rule = "";
    } else if (character !== "{" && !/[\s,]/.test(character)) {
      throw new RangeError("each rule of an inline table stands in braces");
    }
    if (character === "{") depth += 1;
    if (depth < 0) throw new RangeError("a closing brace has no opening one");
  }
  if (depth !== 0) throw new RangeError("an opening brace has no closing one");
  return rules.join("\n");
}

function parseRules(text: string, language: PatternLanguage): readonly Rule[] {
  const rules: Rule[] = [];
  const open: { rule: Rule & { kind: "if" }; line: number }[] = [];
  for (const { line, text: entry } of logicalLines(text)) {
    if (/^endif\s*$/i.test(entry)) {
      const last = open.pop();
      if (last === undefined) throw new RangeError(`line ${line}: endif without if`);
      last.rule.end = rules.length;
      continue;
    }
    const isIf = /^if\s/i.test(entry);
    const { rest, ...condition } = parseCondition(
      isIf ? entry.slice(2).trim() : entry,
      line,
      language,
    );
    if (isIf) {
      const rule: Rule & { kind: "if" } = { ...condition, kind: "if", end: 0 };
      open.push({ rule, line });
      rules.push(rule);
    } else if (rest === "") throw new RangeError(`line ${line}: no result`);
    else rules.push({ ...condition, kind: "result", result: checkedResult(rest, condition, line) });
  }
  const unclosed = open.at(-1);
  if (unclosed !== undefined) throw new RangeError(`line ${unclosed.line}: if without endif`);
  return rules;
}

function checkedResult(
  result: string,
  { pattern, isNegated }: Pick<Rule, "pattern" | "isNegated">,
  line: number,
): string {
  for (const [whole, bare, braced, bracketed] of result.matchAll(substitution)) {
    if (whole === "$$") continue;
    if (isNegated) throw new RangeError(`line ${line}: ${whole} with a negated pattern`);
    const group = Number(bare ?? braced ?? bracketed);
    if (group > pattern.groupCount()) throw new RangeError(`line ${line}: no group for ${whole}`);
  }
  return result;
}

function parseCondition(
  text: string,
  line: number,
  language: PatternLanguage,
): Pick<Rule, "pattern" | "isNegated"> & { readonly rest: string } {
  const isNegated = text.startsWith("!");
  const start = isNegated ? text.slice(1).trimStart() : text;
  const delimiter = start.charAt(0);
  if (delimiter === "" || /[\w\s]/.test(delimiter)) {
    throw new RangeError(`line ${line}: a pattern stands between delimiters such as /`);
  }
  const end = patternEnd(start, delimiter);
  if (end === undefined) throw new RangeError(`line ${line}: no closing ${delimiter}`);
  const [, flags = "", rest = ""] = /^(\S*)\s*(.*)$/s.exec(start.slice(end + 1)) ?? [];
  const source = unescapeDelimiter(start.slice(1, end), delimiter);
  return { pattern: compile(source, flags, line, language), isNegated, rest: rest.trim() };
}

function patternEnd(text: string, delimiter: string): number | undefined {
  for (let at = 1; at < text.length; at++) {
    if (text[at] === "\\") at++;
    else if (text[at] === delimiter) return at;
  }
  return undefined;
}

/** `\/` is the delimiter itself; re2 knows no such escape for some characters. */
function unescapeDelimiter(source: string, delimiter: string): string {
  return delimiter === "/" ? source.replaceAll(String.raw`\/`, "/") : source;
}

function compile(source: string, flags: string, line: number, language: PatternLanguage): RE2JS {
  let mode = RE2JS.CASE_INSENSITIVE | RE2JS.DOTALL;
  if (language === "regexp") mode |= RE2JS.LONGEST_MATCH;
  for (const flag of flags) {
    if (flag === "i") mode ^= RE2JS.CASE_INSENSITIVE;
    else if (flag === "m") mode ^= RE2JS.MULTILINE;
    else if (flag === "s" && language === "pcre") mode ^= RE2JS.DOTALL;
    else throw new RangeError(`line ${line}: flag "${flag}" is not supported`);
  }
  try {
    return RE2JS.compile(source, mode);
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw new RangeError(`line ${line}: ${why}`, { cause: error });
  }
}
