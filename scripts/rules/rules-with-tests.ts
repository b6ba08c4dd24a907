/**
 * Which tests show which rule of a spec.
 *
 * A rule begins a paragraph or a sentence of its spec with its id and a full stop ("S21. …"). A test shows it when its name
 * begins with the id; a test may show several ("S5 S6 …", "S28, S30 …", "S16: …").
 *
 * Source: STYLE §9.
 */
import { globSync, readFileSync } from "node:fs";
import { join } from "node:path";

export type RuleTest = { readonly file: string; readonly name: string };
export type Rule = { readonly id: string; readonly tests: readonly RuleTest[] };

/** Specs whose rules all have tests: the letter of their ids, and how many there are. */
export const specs = [
  { file: "docs/spec/scheduling.md", letter: "S", count: 38 },
  { file: "docs/spec/delivery.md", letter: "D", count: 34 },
  { file: "docs/spec/admin-tools.md", letter: "A", count: 12 },
] as const;
export type Spec = (typeof specs)[number];

const testFiles = ["{packages,services}/*/src/**/*.test.ts", "test/**/*.test.ts"];

/** The rules in the order of their numbers, each with its tests by file. */
export function rulesWithTests(checkout: string, { file, letter }: Spec): readonly Rule[] {
  const spec = readFileSync(join(checkout, file), "utf8");
  const beginnings = spec.matchAll(new RegExp(String.raw`^(${letter}\d+)\. `, "gm"));
  const ids = [...beginnings].map((match) => match[1] ?? "");
  const tests = testFiles
    .flatMap((pattern) => globSync(pattern, { cwd: checkout }))
    .toSorted()
    .flatMap((path) => testsIn(path, readFileSync(join(checkout, path), "utf8")));
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
  return ids.match(/[A-Z]\d+/g) ?? [];
}
