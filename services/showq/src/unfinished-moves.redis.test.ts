import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { loadParameters } from "@postmq/config";
import { checkInstance } from "@postmq/queue-store";
import { waitFor, withStore } from "@postmq/testing";

import { UnfinishedMoves } from "./unfinished-moves.ts";

describe("UnfinishedMoves", () => {
  it("P2 brings a move to its end whose maker died, and puts back what was on its way into a file", () =>
    withStore(async ({ store, redis, instanceName, openAnother }) => {
      const otherName = "aside-of-this";
      const other = await openAnother({ instanceName: otherName });
      const [intake, copying] = [store.intake(), store.copying()];
      const ids = [intake.newId(), intake.newId()];
      for (const [i, id] of ids.entries()) {
        const content = await intake.openContent(id).finish();
        const envelope = { sender: "a@b.example", origin: "smtp" } as const;
        const recipients = [{ address: "c@d.example" }];
        await intake.commit({ id, queue: "hold", envelope, recipients, content });
        const read = await copying.readCopy(id);
        assert.ok(typeof read !== "string");
        const marks = [{ move: copying.moveOf(read), version: read.version }];
        await copying.markMoving(marks, i === 0 ? otherName : "file:x");
      }
      const said: string[] = [];
      const log = { info: () => {}, error: () => {}, warning: (text: string) => said.push(text) };
      const moves = new UnfinishedMoves({
        store,
        copying,
        parameters: loadParameters({ env: { POSTMQ_REDIS_URL: redis.url } }),
        processName: "test",
        log,
        everyMs: 20,
        abandonedAfterMs: -1000,
      });
      moves.start();
      await waitFor(() => said.length > 0);
      await moves.drain();
      assert.deepEqual(said, ["a move broke off: 1 messages moved to its end, 1 put back"]);
      const where = async (reader: typeof store) =>
        (await reader.copying().readCopies(ids)).map((read) =>
          typeof read === "string" ? read : read.copy.queue,
        );
      assert.deepEqual(await where(other), ["hold", "absent"]);
      assert.deepEqual(await where(store), ["absent", "hold"]);
      for (const name of [instanceName, otherName]) {
        assert.deepEqual(await checkInstance(redis.url, name), []);
      }
    }));
});
