import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { Child } from "./child-process.ts";
import { waitFor } from "./wait-for.ts";

describe("a child of a test", () => {
  it("is known to be gone though a process that it started holds its output open", async () => {
    const child = new Child("/bin/sh", ["-c", "sleep 60 & echo $!; wait"]);
    const grandchild = Number(await waitFor(() => /^\d+\n/.exec(child.stdout)?.[0]));
    try {
      await child.kill9();
      assert.equal(child.isRunning, false);
      assert.deepEqual(await child.exited, { code: null, signal: "SIGKILL" });
    } finally {
      process.kill(grandchild, "SIGKILL");
    }
  });
});
