/** What may take how long: a server that never stops answering holds one slot, for half of daemon_timeout. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";

import { FakeSmtpServer, waitFor } from "@postmq/testing";

import { noDns, request, startWorker } from "../delivery.test-support.ts";

describe("the deadline of an attempt", { concurrency: true }, () => {
  it("29, S35: each reply of a server comes in time, all together do not: the worker survives it", async () => {
    let asked = 0;
    await using slow = await FakeSmtpServer.start({
      decide: ({ stage }) => {
        if (stage !== "rcpt") return undefined;
        asked += 1;
        return { delayMs: 450, reply: "450 4.2.0 later" };
      },
    });
    await using next = await FakeSmtpServer.start();
    await using good = await FakeSmtpServer.start({
      decide: async ({ stage }) => {
        if (stage === "dot") await isOver;
        return undefined;
      },
    });
    // The watchdog of this worker panics here: the runner would fail the test for it.
    await using test = await startWorker({ POSTMQ_DAEMON_TIMEOUT: "6s" });
    const startedMs = performance.now();
    const to = Array.from({ length: 16 }, (_, at) => `user${at}@example.net`);
    const isOver = test.serve(request(1, `${slow.relayhost}, ${next.relayhost}`, { to }));
    await waitFor(() => asked >= 4);
    const other = test.serve(request(2, good.relayhost));
    await isOver;
    assert.ok(performance.now() - startedMs >= 2_900);
    assert.equal(next.totalConnections, 0, "no server after the deadline");
    const [end] = test.delivering.ends;
    assert.equal(end?.end, "tried");
    assert.deepEqual(new Set(end.outcomes.map(({ kind }) => kind)), new Set(["deferred"]));
    assert.equal(end.outcomes.length, 16);
    assert.match(end.outcomes[0]?.reason ?? "", /said: 450 4\.2\.0 later/);
    assert.match(end.outcomes[15]?.reason ?? "", /timed out while sending RCPT TO$/);
    await other;
    assert.equal(test.delivering.ends[1]?.outcomes[0]?.kind, "sent");
  });

  it("S35: a connection that is kept has as much time for each message", async () => {
    await using server = await FakeSmtpServer.start({
      decide: ({ stage }) => (stage === "dot" ? { delayMs: 3_400 } : undefined),
    });
    await using test = await startWorker({ POSTMQ_DAEMON_TIMEOUT: "12s" });
    await test.serve(request(1, server.relayhost), request(2, server.relayhost));
    assert.equal(server.totalConnections, 1);
    assert.deepEqual(
      test.delivering.ends.flatMap(({ outcomes }) => outcomes.map(({ kind }) => kind)),
      ["sent", "sent"],
    );
  });

  it("S35: when no time is left for any server, everybody is deferred and none is asked", async () => {
    await using server = await FakeSmtpServer.start();
    const slow = { ...noDns, addresses: async () => await lateAddress(1_200) };
    await using test = await startWorker({ POSTMQ_DAEMON_TIMEOUT: "2s" }, { resolver: slow });
    await test.serve(request(1, `[mx.example.net]:${server.port}`));
    assert.deepEqual(test.delivering.shownOutcomes, ["0 deferred 4.4.2"]);
    assert.equal(server.totalConnections, 0);
  });
});

async function lateAddress(delayMs: number) {
  await sleep(delayMs);
  return { kind: "found", records: ["127.0.0.1"] } as const;
}
