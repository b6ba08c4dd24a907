/**
 * Expansion of `$name` in parameter values.
 *
 * Forms: `$name`, `$(name)`, `${name}`; `${name?text}` is text when the value is not empty, `${name:text}` when it is
 * empty, `${name?{yes}:{no}}` both; `$$` is one dollar sign. Texts are expanded in turn. Comparisons
 * (`${{a} == {b} ? …}`) are refused, not misread.
 *
 * Source: postconf(5) "main.cf file format"; Postfix src/util/mac_expand.c.
 */
import { BadValue } from "./parameter-kinds.ts";

/**
 * The text with every `$name` replaced.
 *
 * @param valueOf the expanded value of a name. `isTested`: it is asked for by `?` or `:`, so unset counts as empty.
 * @throws BadValue when the form is wrong, and whatever `valueOf` throws (unknown names, loops).
 */
export function expand(
  value: string,
  valueOf: (name: string, isTested: boolean) => string,
): string {
  return value.includes("$") ? expandFrom(value, valueOf) : value;
}

function expandFrom(value: string, valueOf: (name: string, isTested: boolean) => string): string {
  let result = "";
  let at = 0;
  while (at < value.length) {
    const dollar = value.indexOf("$", at);
    if (dollar < 0) return result + value.slice(at);
    result += value.slice(at, dollar);
    const next = value[dollar + 1];
    if (next === "$") {
      result += "$";
      at = dollar + 2;
      continue;
    }
    if (next === "{" || next === "(") {
      const end = closingBrace(value, dollar + 1);
      result += expandBraced(value.slice(dollar + 2, end), valueOf);
      at = end + 1;
      continue;
    }
    const name = /^\w+/.exec(value.slice(dollar + 1))?.[0];
    if (name === undefined)
      throw new BadValue("a $ must be followed by a name; write $$ for a dollar sign");
    result += valueOf(name, false);
    at = dollar + 1 + name.length;
  }
  return result;
}

/** Position of the brace or parenthesis that closes the one at `open`. */
function closingBrace(value: string, open: number): number {
  const [opening, closing] = value[open] === "{" ? ["{", "}"] : ["(", ")"];
  let depth = 0;
  for (let at = open; at < value.length; at += 1) {
    if (value[at] === opening) depth += 1;
    if (value[at] === closing) depth -= 1;
    if (depth === 0) return at;
  }
  throw new BadValue("an expansion is not closed");
}

function expandBraced(
  inside: string,
  valueOf: (name: string, isTested: boolean) => string,
): string {
  const match = /^(\w+)(?:\s*([?:])\s*([\s\S]*))?$/.exec(inside);
  const name = match?.[1];
  if (name === undefined) throw new BadValue(`the expansion \${${inside}} is not supported`);
  const operator = match?.[2];
  if (operator === undefined) return valueOf(name, false);
  const { first, second } = branches(match?.[3] ?? "", operator);
  const isTaken = (valueOf(name, true) !== "") === (operator === "?");
  return expandFrom(isTaken ? first : second, valueOf);
}

/** `text`, `{text}` or, after `?`, `{yes}:{no}`. */
function branches(
  rest: string,
  operator: string,
): { readonly first: string; readonly second: string } {
  if (!rest.startsWith("{")) return { first: rest, second: "" };
  const end = closingBrace(rest, 0);
  const first = rest.slice(1, end).trim();
  const after = rest.slice(end + 1).trim();
  if (after === "") return { first, second: "" };
  if (operator === "?" && /^:\s*\{[\s\S]*\}$/.test(after)) {
    return { first, second: after.slice(after.indexOf("{") + 1, -1).trim() };
  }
  if (operator === "?" && after.startsWith(":")) return { first, second: after.slice(1).trim() };
  throw new BadValue("text follows the closing brace of a condition");
}

/** Names that a value refers to, for telling a helper of the user's from a typing error. */
export function referencedNames(value: string): readonly string[] {
  return [...value.replaceAll("$$", "").matchAll(/\$[{(]?(\w+)/g)].map((match) => match[1] ?? "");
}
