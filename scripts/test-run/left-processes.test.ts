import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, it } from "node:test";
import { endLeftProcesses, leftProcesses } from "./left-processes.ts";

describe("endLeftProcesses", () => {
  it("finds what a test left in the run's session or directory, and ends it", async (test) => {
    const directory = mkdtempSync(join(tmpdir(), "pmq-left-"));
    test.after(() => rmSync(directory, { recursive: true }));
    const leader = spawn("sleep", ["1000"], { detached: true, stdio: "ignore" });
    const stray = spawn("sleep", ["1000"], { detached: true, stdio: "ignore", cwd: directory });
    await Promise.all([once(leader, "spawn"), once(stray, "spawn")]);
    const exits = Promise.all([once(leader, "exit"), once(stray, "exit")]);
    const left = await endLeftProcesses({ session: leader.pid ?? 0, directory });
    assert.deepEqual(
      left.map(({ pid, command }) => ({ pid, command })).toSorted((a, b) => a.pid - b.pid),
      [leader, stray].map(({ pid }) => ({ pid, command: "sleep 1000" })),
    );
    await exits;
  });

  it("leaves everybody else's processes alone", () => {
    assert.deepEqual(leftProcesses({ session: -1, directory: "/no/such/directory" }), []);
  });
});
