/** Long listings, as programs of their own in front of a pipe. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { describe, it } from "node:test";

import { run, withStore } from "@postmq/testing";

const program = join(import.meta.dirname, "main.ts");

describe("a long listing", () => {
  it("streams to whoever reads to the end, and ends quietly with whoever has seen enough", () =>
    withStore(async ({ redis, openAnother }) => {
      const instanceName = "long-listing";
      const store = await openAnother({ instanceName });
      const intake = store.intake();
      const commits = Array.from({ length: 3000 }, async (_, i) => {
        const id = intake.newId();
        const content = await intake.openContent(id).finish();
        const envelope = { sender: `s${i}@sender.example`, origin: "smtp" as const };
        const recipients = [{ address: `user${i}@example.com` }];
        return intake.commit({ id, queue: "hold", envelope, recipients, content });
      });
      await Promise.all(commits);
      const env = { POSTMQ_REDIS_URL: redis.url, POSTMQ_INSTANCE_NAME: instanceName };
      const piped = (command: string) =>
        run("sh", ["-c", `"${process.execPath}" "${program}" ${command}`], { env });
      const tail = await piped("postqueue -p | tail -1");
      assert.deepEqual(
        { out: tail.stdout, err: tail.stderr },
        { out: "-- 0 Kbytes in 3000 Requests.\n", err: "" },
      );
      const slow = await piped("postqueue -j | { sleep 1; wc -l; }");
      assert.deepEqual({ out: slow.stdout.trim(), err: slow.stderr }, { out: "3000", err: "" });
      const bad = "-h no.id ".repeat(2000);
      const late = await piped(`postsuper ${bad} 2>&1 | { head -c 1; sleep 0.5; tail -1; }`);
      assert.equal(late.stdout, "ppostsuper: Placed on hold: 0 messages\n");
      const head = await piped("postqueue -p | head -1");
      assert.match(head.stdout, /^----Queue ID-----/);
      assert.equal(head.stderr, "");
    }));
});
