/** docs/STANDARDS.md held against the sources: what is said to be done is cited where it is done, and nothing else. */
import assert from "node:assert/strict";
import { globSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";

const checkout = join(import.meta.dirname, "..");

type Row = { readonly rfc: string; readonly state: string; readonly where: readonly string[] };

function readRows(): readonly Row[] {
  const text = readFileSync(join(checkout, "docs/STANDARDS.md"), "utf8");
  const rows = text.matchAll(/^\| RFC (\d+) \|[^|]*\| (\w+) \|([^|]*)\|[^|]*\|$/gm);
  return [...rows].map(([, rfc = "", state = "", where = ""]) => ({
    rfc,
    state,
    where: where
      .split(",")
      .map((folder) => folder.trim())
      .filter((folder) => folder !== ""),
  }));
}

/** Folders of packages and services by the RFCs that their sources cite. */
function readCitations(): ReadonlyMap<string, ReadonlySet<string>> {
  const citations = new Map<string, Set<string>>();
  for (const file of globSync("{packages,services}/*/src/**/*.ts", { cwd: checkout })) {
    if (file.endsWith(".test.ts")) continue;
    const folder = file.split("/").slice(0, 2).join("/");
    const text = readFileSync(join(checkout, file), "utf8");
    for (const [, rfc = ""] of text.matchAll(/\bRFC (\d{3,5})\b/g)) {
      citations.set(rfc, (citations.get(rfc) ?? new Set()).add(folder));
    }
  }
  return citations;
}

describe("docs/STANDARDS.md", () => {
  const rows = readRows();
  const citations = readCitations();

  it("is a table by number, with the states done, part and not", () => {
    assert.ok(rows.length > 20);
    const numbers = rows.map(({ rfc }) => Number(rfc));
    assert.deepEqual(
      numbers,
      numbers.toSorted((a, b) => a - b),
    );
    assert.deepEqual(
      rows.filter(({ state }) => !["done", "part", "not"].includes(state)),
      [],
    );
  });

  it("names, for each standard that is done or in part, where it is cited", () => {
    const stated = rows.filter(({ state }) => state !== "not");
    assert.deepEqual(
      stated.filter(({ where }) => where.length === 0),
      [],
    );
    const uncited = stated.flatMap(({ rfc, where }) =>
      where
        .filter((folder) => !citations.get(rfc)?.has(folder))
        .map((folder) => `${rfc}: ${folder}`),
    );
    assert.deepEqual(uncited, []);
  });

  it("has a row for each standard that the sources cite", () => {
    const stated = rows.filter(({ state }) => state !== "not").map(({ rfc }) => rfc);
    assert.deepEqual(
      [...citations.keys()].filter((rfc) => !stated.includes(rfc)),
      [],
    );
  });
});
