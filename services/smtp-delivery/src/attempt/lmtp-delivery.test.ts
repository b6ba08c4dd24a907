import assert from "node:assert/strict";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { connect, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, it } from "node:test";

import { FakeSmtpServer } from "@postmq/testing";

import { request, startWorker } from "../delivery.test-support.ts";

const env = { POSTMQ_TRANSPORTS: "smtp, lmtp" };

function lmtpRequest(nexthop: string, to?: readonly string[]) {
  return request(1, nexthop, {
    destination: { transport: "lmtp", nexthop },
    ...(to === undefined ? {} : { to }),
  });
}

describe("delivery by LMTP", () => {
  it("D6: each recipient has the outcome that the server gives it after the dot", async () => {
    await using server = await FakeSmtpServer.start({
      protocol: "lmtp",
      decide: ({ stage, recipient }) =>
        stage === "dot" && recipient.startsWith("full") ? { reply: "452 4.2.2 full" } : undefined,
    });
    await using test = await startWorker(env);
    await test.serve(lmtpRequest(server.relayhost, ["a@example.net", "full@example.net"]));
    assert.deepEqual(test.delivering.shownOutcomes, ["0 sent 2.0.0", "1 deferred 4.2.2"]);
  });

  it("D1: a next hop may be a UNIX socket of this machine", async () => {
    await using server = await FakeSmtpServer.start({ protocol: "lmtp" });
    const directory = await mkdtemp(join(tmpdir(), "postmq-lmtp-"));
    const path = join(directory, "socket");
    const listener = createServer((socket) => {
      const inner = connect(server.port, "127.0.0.1");
      socket.pipe(inner).pipe(socket);
      for (const end of [socket, inner]) end.on("error", () => socket.destroy());
    }).listen(path);
    await once(listener, "listening");
    try {
      await using test = await startWorker(env);
      await test.serve(lmtpRequest(`unix:${path}`));
      assert.deepEqual(test.delivering.shownOutcomes, ["0 sent 2.0.0"]);
      assert.equal(test.delivering.onlyOutcome.remote?.address, path);
    } finally {
      listener.close();
      await rm(directory, { recursive: true });
    }
  });

  it("D31: an LMTP server without DSN may be told to count as the last one", async () => {
    await using server = await FakeSmtpServer.start({ protocol: "lmtp", keywords: [] });
    await using test = await startWorker({ ...env, POSTMQ_LMTP_ASSUME_FINAL: "yes" });
    const plain = lmtpRequest(server.relayhost);
    const recipients = plain.recipients.map((each) => ({ ...each, notify: ["SUCCESS"] as const }));
    await test.serve({ ...plain, recipients });
    assert.equal(test.delivering.onlyOutcome.owesReport, "delivered");
  });
});
