import assert from "node:assert/strict";
import { mkdtempSync, rmSync, unlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { isPostmqError } from "@postmq/vocabulary";
import { openTables } from "./tables.ts";

describe("openTables", () => {
  let directory = "";
  before(() => {
    directory = mkdtempSync(join(tmpdir(), "postmq-tables-"));
  });
  after(() => rmSync(directory, { recursive: true }));

  function file(name: string, content: string): string {
    const path = join(directory, name);
    writeFileSync(path, content);
    return path;
  }

  const open = (...specs: readonly string[]) =>
    openTables(specs, { parameterName: "transport_maps" });

  it("answers from the first table that has the key, in any case", async () => {
    const tables = await open("inline:{a=1}", "inline:{A=2, b=3}");
    assert.equal(tables.lookup("A"), "1");
    assert.equal(tables.lookup("b"), "3");
    assert.equal(tables.lookup("c"), undefined);
    assert.equal(tables.isEmpty, false);
    assert.equal((await open()).isEmpty, true);
  });

  it("reads inline tables, values with white space in braces", async () => {
    const tables = await open(
      "inline:{ example.com = smtp:[127.0.0.1]:2526, {* = error:5.1.1 no such, sorry} }",
    );
    assert.equal(tables.lookup("example.com"), "smtp:[127.0.0.1]:2526");
    assert.equal(tables.lookup("*"), "error:5.1.1 no such, sorry");
    const spaced = await open("inline:{a=1 b = 2,{c = x = y} d=4}");
    assert.deepEqual(
      ["a", "b", "c", "d"].map((key) => spaced.lookup(key)),
      ["1", "2", "x = y", "4"],
    );
  });

  it("gives a static table's value for every key", async () => {
    assert.equal((await open("static:slow:")).lookup("x@y"), "slow:");
    assert.equal((await open("static:{error:4.0.0 not now}")).lookup("x@y"), "error:4.0.0 not now");
  });

  it("reads the source text of texthash and hash alike, values in their case", async () => {
    const text = "# routes\nExample.COM\tsmtp:[Relay]\n\n  # note\nother.org\n  smtp:\n  [x]\n";
    for (const type of ["texthash", "hash"]) {
      const tables = await open(`${type}:${file("routes", text)}`);
      assert.equal(tables.lookup("example.com"), "smtp:[Relay]");
      assert.equal(tables.lookup("OTHER.org"), "smtp:  [x]");
    }
  });

  it("warns of duplicate keys and of lines without a value, and goes on", async () => {
    const warnings: string[] = [];
    const spec = `hash:${file("bad", "a 1\nlonely\nA 2\nb 3\n")}`;
    const tables = await openTables([spec], {
      parameterName: "transport_maps",
      onWarning: (text) => warnings.push(text),
    });
    assert.equal(tables.lookup("a"), "1");
    assert.equal(tables.lookup("b"), "3");
    assert.match(warnings.join("\n"), /line 2[\s\S]*line 3: duplicate entry: "a"/);
  });

  it("reads a changed file again, and keeps the last content of one that is gone", async () => {
    let nowMs = 0;
    const warnings: string[] = [];
    const path = file("changing", "a 1\n");
    const tables = await openTables([`hash:${path}`], {
      parameterName: "transport_maps",
      onWarning: (text) => warnings.push(text),
      nowMs: () => nowMs,
    });
    writeFileSync(path, "a 2 two\n");
    assert.equal(tables.lookup("a"), "1");
    nowMs += 1_000;
    assert.equal(tables.lookup("a"), "2 two");
    unlinkSync(path);
    nowMs += 1_000;
    assert.equal(tables.lookup("a"), "2 two");
    nowMs += 1_000;
    tables.lookup("a");
    assert.equal(warnings.length, 1);
    assert.match(warnings.join(), /no such file; its last content still counts/);
  });

  it("names parameter and table of what can't be opened", async () => {
    const wrong = [
      "hash:/nowhere/x",
      "cidr:/x",
      "nonsense",
      "inline:{}",
      "inline:{a}",
      "inline:a=b",
      "inline:{a={b}",
    ];
    for (const spec of wrong) {
      await assert.rejects(open(spec), (error) => {
        assert.ok(isPostmqError(error, "PMQ_TABLE_UNREADABLE"));
        return error.message.startsWith(`parameter transport_maps: table ${spec}: `);
      });
    }
  });
});
