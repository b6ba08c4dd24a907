import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, it } from "node:test";
import { isPostmqError } from "@postmq/vocabulary";
import { lockDataDirectory } from "./data-lock.ts";

describe("lockDataDirectory", () => {
  it("refuses a second holder, naming the first, until it lets go", (test) => {
    const directory = mkdtempSync(join(tmpdir(), "postmq-lock-"));
    test.after(() => rmSync(directory, { recursive: true }));
    const lock = lockDataDirectory(directory);
    assert.throws(
      () => lockDataDirectory(directory),
      (error) =>
        isPostmqError(error, "PMQ_ALREADY_RUNNING") &&
        error.message === `already running as process ${process.pid} on ${directory}`,
    );
    lock.release();
    lockDataDirectory(directory).release();
  });

  it("is free again when its holder was killed by -9", async (test) => {
    const directory = mkdtempSync(join(tmpdir(), "postmq-lock-"));
    test.after(() => rmSync(directory, { recursive: true }));
    const program = `
      const { lockDataDirectory } = await import(${JSON.stringify(join(import.meta.dirname, "data-lock.ts"))});
      const lock = lockDataDirectory(${JSON.stringify(directory)});
      console.log("locked");
      setInterval(() => lock, 1000);`;
    const holder = spawn(process.execPath, ["--input-type=module", "--eval", program]);
    test.after(() => holder.kill("SIGKILL"));
    await once(holder.stdout, "data");
    assert.throws(() => lockDataDirectory(directory), /already running/);
    holder.kill("SIGKILL");
    await once(holder, "exit");
    lockDataDirectory(directory).release();
  });
});
