import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";

import { RegexpTable } from "./regexp-table.ts";
import { openTables } from "./tables.ts";

const table = (...lines: readonly string[]) => new RegexpTable(lines.join("\n"), "regexp");

describe("regexp and pcre tables", () => {
  let directory = "";
  before(() => {
    directory = mkdtempSync(join(tmpdir(), "postmq-tables-"));
  });
  after(() => rmSync(directory, { recursive: true }));

  it("answers with the first pattern that matches, groups put in", () => {
    const rules = table(
      "# note",
      "/^To: (.*)@(.*)$/ REPLACE To: ${2}$$(1) at $1",
      "/^to:/ INFO",
      "/x/i",
      "  WARN y",
    );
    assert.equal(rules.lookup("to: a@b"), "REPLACE To: b$(1) at a");
    assert.equal(rules.lookup("TO: nobody"), "INFO");
    assert.equal(rules.lookup("x"), "WARN y");
    assert.equal(rules.lookup("X"), undefined);
  });

  it("negates, and nests if and endif", () => {
    const rules = table("if /a/", "if !/b/", "/c/ 1", "endif", "/d/ 2", "endif", "!/e/ $$3");
    assert.deepEqual(
      ["ac", "abc", "abd", "ce", "f"].map((key) => rules.lookup(key)),
      ["1", "$3", "2", undefined, "$3"],
    );
  });

  it("lets . match a line break, and ^ only when flag m says so", () => {
    assert.equal(table("/a.b/ yes").lookup("a\nb"), "yes");
    assert.equal(table("/^b/ yes").lookup("a\nb"), undefined);
    assert.equal(table("/^b/m yes").lookup("a\nb"), "yes");
    assert.equal(new RegexpTable("/a.b/s yes", "pcre").lookup("a\nb"), undefined);
  });

  it("finds the longest match in regexp tables, the first in pcre tables", () => {
    const rule = "/(a|ab)/ $1";
    assert.equal(new RegexpTable(rule, "regexp").lookup("ab"), "ab");
    assert.equal(new RegexpTable(rule, "pcre").lookup("ab"), "a");
  });

  it("security 6: takes no time for patterns that stall others", () => {
    const started = performance.now();
    assert.equal(table("/^(a+)+$/ evil").lookup(`${"a".repeat(100_000)}!`), undefined);
    assert.ok(performance.now() - started < 5_000);
  });

  it("refuses what makes no sense, with its line", () => {
    const wrong: readonly (readonly [string, RegExp])[] = [
      ["/a/ 1\n/(/ 2", /: line 2: /],
      ["/a/", /line 1: no result/],
      ["/a 1", /no closing/],
      ["/a/x 1", /flag "x"/],
      ["/a/ $1", /no group for \$1/],
      ["!/(a)/ $1", /negated/],
      ["endif", /endif without if/],
      ["if /a/", /if without endif/],
      ["word 1", /delimiters/],
      ["/a(?=b)/ 1", /line 1/],
    ];
    for (const [text, reason] of wrong) assert.throws(() => table(text), reason, text);
  });

  it("are opened like other tables: keys in their case, from files or inline", async () => {
    const path = join(directory, "checks");
    writeFileSync(path, "/^(Subject): .*/i REPLACE $1: x\n");
    const open = (spec: string) => openTables([spec], { parameterName: "smtp_header_checks" });
    const file = await open(`regexp:${path}`);
    assert.equal(file.lookup("Subject: y"), "REPLACE Subject: x");
    assert.equal(file.lookup("subject: y"), undefined);
    assert.deepEqual(file.values(), ["REPLACE $1: x"]);
    const inline = await open("pcre:{ {/^a{2}$/ 1}, {/b/ 2} }");
    assert.deepEqual(
      [inline.lookup("aa"), inline.lookup("b"), inline.lookup("c")],
      ["1", "2", undefined],
    );
    await assert.rejects(open("regexp:{/a/ 1}"), /each rule of an inline table stands in braces/);
    writeFileSync(path, "/(/ x\n");
    await assert.rejects(
      open(`regexp:${path}`),
      /parameter smtp_header_checks: table regexp:.*line 1/,
    );
  });

  it("takes the new content of a file, and says so by its generation", async () => {
    const path = join(directory, "changing");
    writeFileSync(path, "/a/ 1\n");
    let nowMs = 0;
    const tables = await openTables([`regexp:${path}`], { parameterName: "x", nowMs: () => nowMs });
    const before = tables.generation();
    writeFileSync(path, "/a/ 2 and more\n");
    nowMs += 1_000;
    assert.equal(tables.generation(), before + 1);
    assert.equal(tables.lookup("a"), "2 and more");
  });
});
