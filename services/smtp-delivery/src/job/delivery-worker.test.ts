import assert from "node:assert/strict";
import { mkdtemp, readFile, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, it } from "node:test";

import { FakeSmtpServer, waitFor } from "@postmq/testing";
import type { StageEvent } from "@postmq/testing";

import { request, requestName, startWorker } from "../delivery.test-support.ts";
import { parseHeldOutcomes } from "./held-outcomes.ts";

/** Holds a stage of the first connection until it is let go. */
function gate(stage: StageEvent["stage"]) {
  let open = () => {};
  const opened = new Promise<void>((resolve) => {
    open = resolve;
  });
  let isReached = false;
  return {
    decide: async (event: StageEvent) => {
      if (event.stage !== stage) return undefined;
      isReached = true;
      await opened;
      return undefined;
    },
    reached: () => waitFor(() => isReached),
    open,
  };
}

describe("a delivery process", () => {
  it("9, 10: delivers a request once though its job is handed out again meanwhile", async () => {
    const dot = gate("dot");
    await using server = await FakeSmtpServer.start({ decide: dot.decide });
    await using test = await startWorker();
    const names = test.delivering.offer(request(1, server.relayhost), request(2, server.relayhost));
    const first = test.worker.serve({ requests: [...names, ...names], keepsConnection: true });
    await dot.reached();
    // The store would grant these claims: they are ours already.
    await test.worker.serve({ requests: names, keepsConnection: true });
    dot.open();
    await first;
    assert.equal(server.messages.length, 2);
    assert.equal(test.delivering.ends.length, 2);
  });

  it("takes a request again once its end is written", async () => {
    await using server = await FakeSmtpServer.start();
    await using test = await startWorker();
    await test.serve(request(1, server.relayhost));
    await test.serve(request(1, server.relayhost));
    assert.equal(server.messages.length, 2);
  });
});

describe("the end of a delivery process", () => {
  it("P10: what is in flight ends, what has not begun is put back", async () => {
    const dot = gate("dot");
    await using server = await FakeSmtpServer.start({ decide: dot.decide });
    const test = await startWorker();
    const served = test.serve(...[1, 2, 3].map((number) => request(number, server.relayhost)));
    await dot.reached();
    test.draining.abort();
    dot.open();
    await test.worker.drain(served);
    assert.deepEqual(
      test.delivering.ends.map(({ name, end }) => `${name.number} ${end}`),
      ["1 tried", "2 putBack", "3 putBack"],
    );
    assert.equal(server.messages.length, 1);
  });

  it("P10: at the deadline what is before its dot is put back, and its dot never goes out", async () => {
    const rcpt = gate("rcpt");
    await using server = await FakeSmtpServer.start({ decide: rcpt.decide });
    const test = await startWorker({}, { drainDeadlineMs: 20 });
    const served = test.serve(request(1, server.relayhost));
    await rcpt.reached();
    test.draining.abort();
    await test.worker.drain(served);
    assert.deepEqual(
      test.delivering.ends.map(({ end }) => end),
      ["putBack"],
    );
    rcpt.open();
    await served;
    assert.equal(server.messages.length, 0);
    assert.equal(test.delivering.ends.length, 1);
  });

  it("P10: at the deadline what is after its dot is left to its claim", async () => {
    const dot = gate("dot");
    await using server = await FakeSmtpServer.start({ decide: dot.decide });
    const test = await startWorker({}, { drainDeadlineMs: 20 });
    const served = test.serve(request(1, server.relayhost));
    await dot.reached();
    await test.worker.drain(served);
    assert.deepEqual(test.delivering.ends, []);
    dot.open();
    await served;
    assert.deepEqual(
      test.delivering.ends.map(({ end }) => end),
      ["tried"],
    );
  });

  for (const where of ["another transaction", "another server"] as const) {
    it(`P10: at the deadline what hangs in ${where} is put back, and what came of the first is recorded`, async () => {
      let isStuck = false;
      const held = Promise.withResolvers<void>();
      const hold = async () => {
        isStuck = true;
        await held.promise;
        return { reply: "550 5.0.0 no" };
      };
      // A 452 is a reason to ask the same server once more; a 450 is not.
      const code = where === "another server" ? 450 : 452;
      await using server = await FakeSmtpServer.start({
        decide: ({ stage, transaction, recipient }) => {
          if (stage !== "rcpt") return undefined;
          if (transaction === 1) return hold();
          return recipient.startsWith("late") ? { reply: `${code} 4.5.3 not now` } : undefined;
        },
      });
      await using next = await FakeSmtpServer.start({ decide: hold });
      const test = await startWorker({}, { drainDeadlineMs: 20 });
      const to = ["first@example.net", "late@example.net"];
      const served = test.serve(request(1, `${server.relayhost}, ${next.relayhost}`, { to }));
      await waitFor(() => isStuck);
      await test.worker.drain(served);
      // What came of the first: recorded before the second transaction, or with the end.
      const recorded = test.delivering.calls.filter((call) => call.startsWith("record"));
      assert.equal(test.delivering.onlyEnd.end, "putBack");
      assert.deepEqual(
        [...recorded, ...test.delivering.shownOutcomes],
        code === 452 ? ["record 1 0"] : ["0 sent 2.0.0"],
      );
      assert.equal(server.messages.length, 1);
      held.resolve();
      await served;
      assert.equal(server.messages.length + next.messages.length, 1);
      assert.equal(test.delivering.ends.length, 1);
    });
  }

  it("P10: at the deadline what is after its second dot is left to its claim too", async () => {
    const held = Promise.withResolvers<void>();
    let isOut = false;
    await using server = await FakeSmtpServer.start({
      decide: async ({ stage, transaction, recipient }) => {
        if (transaction === 0 && stage === "rcpt" && recipient.startsWith("late"))
          return { reply: "452 4.5.3 not now" };
        if (transaction === 1 && stage === "dot") {
          isOut = true;
          await held.promise;
        }
        return undefined;
      },
    });
    const test = await startWorker({}, { drainDeadlineMs: 20 });
    const to = ["first@example.net", "late@example.net"];
    const served = test.serve(request(1, server.relayhost, { to }));
    await waitFor(() => isOut);
    await test.worker.drain(served);
    assert.deepEqual(test.delivering.ends, []);
    held.resolve();
    await served;
    assert.equal(test.delivering.onlyEnd.end, "tried");
  });

  it("P5: outcomes that Redis has not taken go to data_directory and to the log", async () => {
    const directory = await mkdtemp(join(tmpdir(), "postmq-worker-"));
    try {
      await using server = await FakeSmtpServer.start();
      const test = await startWorker({ POSTMQ_DATA_DIRECTORY: directory }, { drainDeadlineMs: 20 });
      test.delivering.written = () => new Promise(() => {});
      const served = test.serve(request(1, server.relayhost));
      await waitFor(() => test.delivering.ends.length === 1);
      await test.worker.drain(served);
      const [file = ""] = await readdir(join(directory, "outcomes"));
      const held = parseHeldOutcomes(await readFile(join(directory, "outcomes", file), "utf8"));
      assert.deepEqual(held, test.delivering.ends);
      assert.ok(test.log.some((line) => /^error: .*recipient 0 sent 2\.0\.0/.test(line)));
    } finally {
      await rm(directory, { recursive: true, force: true });
    }
  });

  it("11: a claim that fails is made again", async () => {
    await using server = await FakeSmtpServer.start();
    await using test = await startWorker();
    const { delivering } = test;
    const claim = delivering.claim.bind(delivering);
    let tries = 0;
    delivering.claim = async (names) => {
      tries += 1;
      if (tries === 1) throw new Error("LOADING Redis is loading the dataset in memory");
      return await claim(names);
    };
    await test.serve(request(1, server.relayhost));
    assert.deepEqual(
      delivering.ends.map(({ name }) => name),
      [requestName(1)],
    );
  });
});
