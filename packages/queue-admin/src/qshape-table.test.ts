import assert from "node:assert/strict";
import { describe, it } from "node:test";

import type { QshapeRow } from "@postmq/queue-store";

import { defaultQshapeLayout, qshapeTable } from "./qshape-table.ts";
import type { QshapeLayout } from "./qshape-table.ts";
import { recordedCommands } from "./samples.test-support.ts";

/** The counts behind a recorded table, in its order: TOTAL and parent rows are left to be made again. */
function rowsOfTable(output: string): readonly QshapeRow[] {
  return output
    .trimEnd()
    .split("\n")
    .slice(1)
    .map((line) => line.trim().split(/ +/))
    .filter(([domain = ""]) => domain !== "TOTAL" && !domain.startsWith("."))
    .map(([domain = "", , ...counts]) => ({ domain, counts: counts.map(Number) }));
}

function assertReproduced(file: string, command: string, layout: Partial<QshapeLayout>): void {
  const recorded = recordedCommands(file).filter((entry) => entry.command === command);
  assert.ok(recorded.length > 0, `${command} is in ${file}`);
  for (const { output } of recorded) {
    assert.equal(qshapeTable(rowsOfTable(output), { ...defaultQshapeLayout, ...layout }), output);
  }
}

function row(domain: string, ...counts: readonly number[]): QshapeRow {
  return { domain, counts };
}

describe("qshape", () => {
  it("A7, A8, A9: prints the default table as Postfix does", () => {
    assertReproduced("long/qshape.txt", "qshape", {});
    assertReproduced("long/qshape.txt", "qshape deferred", {});
    assertReproduced("long/qshape-aged.txt", "qshape deferred", {});
    assertReproduced("long/qshape-aged.txt", "qshape incoming active deferred", {});
    assertReproduced("qshape-aged.txt", "qshape deferred", {});
  });

  it("A12: prints zeros for an empty queue", () => {
    assertReproduced("long/qshape-empty.txt", "qshape deferred", {});
  });

  it("A6: prints the table of senders as Postfix does", () => {
    assertReproduced("long/qshape.txt", "qshape -s hold", {});
    assertReproduced("long/qshape-aged.txt", "qshape -s deferred", {});
  });

  it("A7: honours -b and -t", () => {
    assertReproduced("long/qshape-aged.txt", "qshape -b 5 -t 10 deferred", {
      bucketCount: 5,
      unitMinutes: 10,
    });
    assertReproduced("long/qshape-aged.txt", "qshape -b 4 -t 60 -s deferred", {
      bucketCount: 4,
      unitMinutes: 60,
    });
  });

  it("A7: honours -l", () => {
    assertReproduced("long/qshape-aged.txt", "qshape -l -b 8 -t 15 deferred", {
      bucketCount: 8,
      unitMinutes: 15,
      isLinear: true,
    });
  });

  it("A8: honours -w above 80 only", () => {
    assertReproduced("long/qshape-aged.txt", "qshape -w 100 deferred", { width: 100 });
    assertReproduced("long/qshape-aged.txt", "qshape deferred", { width: 60 });
  });

  it("A10: adds parent domains that have enough children", () => {
    assertReproduced("long/qshape.txt", "qshape -p deferred", { minSubdomains: 5 });
    assertReproduced("long/qshape-aged.txt", "qshape -p -m 3 deferred", { minSubdomains: 3 });
  });

  it("A10: counts a parent's distinct direct children, parent rows among them, up to the top domain", () => {
    const layout = { ...defaultQshapeLayout, bucketCount: 2, minSubdomains: 2 };
    const table = qshapeTable(
      [row("a.b.example.com", 1, 0), row("c.b.example.com", 2, 0), row("d.example.com", 4, 0)],
      layout,
    );
    assert.match(table, /^ +\.b\.example\.com +3 +3 +0$/m);
    assert.match(table, /^ +\.example\.com +7 +7 +0$/m);
    assert.doesNotMatch(table, /^ +\.com /m);
    assert.match(table, /^ +TOTAL +7 +7 +0$/m);
  });

  it("A8: cuts long names in front and keeps at least 18 columns for them", () => {
    const layout = { ...defaultQshapeLayout, bucketCount: 30, unitMinutes: 1, minSubdomains: 1 };
    const counts = Array.from({ length: 30 }, () => 1);
    const lines = qshapeTable(
      [row("a.very.long.name.of.a.domain.example", ...counts)],
      layout,
    ).split("\n");
    assert.ok(lines.some((line) => line.startsWith("+.a.domain.example ")));
    assert.ok(lines.some((line) => line.startsWith(".+.a.domain.example".slice(0, 2))));
    assert.ok(lines.slice(0, -1).every((line) => line.length === lines[0]?.length));
  });

  it("A11: shows no more rows than asked, TOTAL among them", () => {
    const table = qshapeTable([row("a.example", 3), row("b.example", 2)], {
      ...defaultQshapeLayout,
      maxRows: 2,
    });
    assert.match(table, /TOTAL/);
    assert.match(table, /a\.example/);
    assert.doesNotMatch(table, /b\.example/);
  });
});
