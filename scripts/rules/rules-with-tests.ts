/**
 * Which tests show which rule of the scheduler's spec.
 *
 * A rule begins a paragraph or a sentence of docs/spec/scheduling.md with its id and a full stop ("S21. …"). A test
 * shows it when its name begins with the id; a test may show several ("S5 S6 …", "S28, S30 …", "S16: …").
 *
 * Source: STYLE §9.
 */
import { globSync, readFileSync } from "node:fs";
import { join } from "node:path";

export type RuleTest = { readonly file: string; readonly name: string };
export type Rule = { readonly id: string; readonly tests: readonly RuleTest[] };

const testFiles = ["{packages,services}/*/src/**/*.test.ts", "test/**/*.test.ts"];

/** The rules in the order of their numbers, each with its tests by file. */
export function rulesWithTests(checkout: string): readonly Rule[] {
  const spec = readFileSync(join(checkout, "docs/spec/scheduling.md"), "utf8");
  const ids = [...spec.matchAll(/^(S\d+)\. /gm)].map((match) => match[1] ?? "");
  const tests = testFiles
    .flatMap((pattern) => globSync(pattern, { cwd: checkout }))
    .toSorted()
    .flatMap((file) => testsIn(file, readFileSync(join(checkout, file), "utf8")));
  return ids
    .toSorted((a, b) => Number(a.slice(1)) - Number(b.slice(1)))
    .map((id) => ({ id, tests: tests.filter(({ name }) => shownBy(name).includes(id)) }));
}

function testsIn(file: string, source: string): readonly RuleTest[] {
  const named = source.matchAll(/\b(?:it|test)\(\s*(["'`])((?:\\.|(?!\1).)*)\1/gs);
  return [...named].map((match) => ({ file, name: match[2] ?? "" }));
}

/** The ids at the beginning of a test's name; ids of other specs may stand between them. */
function shownBy(name: string): readonly string[] {
  const ids = /^(?:[A-Z]\d+\b[:, ]*)+/.exec(name)?.[0] ?? "";
  return ids.match(/S\d+/g) ?? [];
}
