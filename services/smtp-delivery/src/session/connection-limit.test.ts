import assert from "node:assert/strict";
import { createServer } from "node:net";
import type { Socket } from "node:net";
import { describe, it } from "node:test";

import { FakeSmtpServer, waitFor } from "@postmq/testing";
import type { Behaviour, StageEvent } from "@postmq/testing";

import { request, startWorker } from "../delivery.test-support.ts";
import type { TestWorker } from "../delivery.test-support.ts";

const at = (stage: StageEvent["stage"], behaviour: Behaviour) => (event: StageEvent) =>
  event.stage === stage ? behaviour : undefined;

const shortTimes = {
  POSTMQ_SMTP_HELO_TIMEOUT: "1s",
  POSTMQ_SMTP_MAIL_TIMEOUT: "1s",
};

/** So that no idle connection ends by itself while a test waits. */
const keepsIdle = { POSTMQ_SMTP_CONNECTION_CACHE_TIME_LIMIT: "100s" };

/** Tokens that are out, over all destinations. */
const out = ({ delivering }: TestWorker) =>
  [...delivering.open.values()].reduce((sum, count) => sum + count, 0);

const returned = (test: TestWorker) =>
  waitFor(() => out(test) === 0, { describe: () => `${out(test)} tokens to come back` });

/** Delivers one message to one server that behaves like this; the token must be back after it. */
async function deliver(
  decide: FakeSmtpServer["decide"],
  env: Readonly<Record<string, string>> = {},
) {
  await using server = await FakeSmtpServer.start({ decide });
  await using test = await startWorker({ ...keepsIdle, ...env });
  await test.serve(request(1, server.relayhost));
  assert.equal(test.delivering.open.size, 1);
  await returned(test);
}

/** A server that takes mail, but leaves its side open after QUIT. */
async function startSlowCloser() {
  const sockets = new Set<Socket>();
  let hasQuit = false;
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    sockets.add(socket);
    socket.on("error", () => {});
    socket.write("220 slow.example.com\r\n");
    socket.on("data", (bytes) => {
      const text = bytes.toString("latin1");
      if (text === "QUIT\r\n") hasQuit = true;
      else socket.write(text === "DATA\r\n" ? "354 go on\r\n" : "250 Ok\r\n");
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  const port = typeof address === "object" && address !== null ? address.port : 0;
  return {
    relayhost: `[127.0.0.1]:${port}`,
    hasQuit: () => hasQuit,
    close: () => sockets.forEach((socket) => socket.end()),
    [Symbol.asyncDispose]: async () => {
      for (const socket of sockets) socket.destroy();
      await new Promise<void>((resolve) => server.close(() => resolve()));
    },
  };
}

describe("the token of a connection", () => {
  it("is held while the connection is idle, and goes back when its time is over", async () => {
    await using server = await FakeSmtpServer.start();
    await using test = await startWorker({ POSTMQ_SMTP_CONNECTION_CACHE_TIME_LIMIT: "3s" });
    await test.serve(request(1, server.relayhost));
    assert.equal(out(test), 1);
    await test.serve(request(2, server.relayhost));
    assert.equal(out(test), 1);
    assert.equal(server.totalConnections, 1);
    await returned(test);
    assert.equal(server.openConnections, 0);
  });

  it("goes back when nobody answers the dial", async () => {
    const server = await FakeSmtpServer.start();
    const { relayhost } = server;
    await server[Symbol.asyncDispose]();
    await using test = await startWorker();
    await test.serve(request(1, relayhost));
    assert.equal(out(test), 0);
  });

  it("goes back when the server turns us away", () => deliver(at("greeting", { reply: "554 no" })));

  it("goes back when the server cuts the conversation", () =>
    deliver(at("mail", { cut: "before" })));

  it("goes back when the server is silent", () => deliver(at("mail", { hangs: true }), shortTimes));

  it("goes back when the server closes after its answer", () =>
    deliver(at("dot", { reply: "421 4.3.2 closing" })));

  it("goes back when the server ends a connection that is idle", async () => {
    await using server = await FakeSmtpServer.start();
    await using test = await startWorker(keepsIdle);
    await test.serve(request(1, server.relayhost));
    assert.equal(test.worker.cache.size, 1);
    server.cutAll();
    await returned(test);
    assert.equal(test.worker.cache.size, 0);
  });

  it("goes back when a connection has served as many as it may", () =>
    deliver(() => undefined, { POSTMQ_SMTP_CONNECTION_REUSE_COUNT_LIMIT: "1" }));

  it("goes back when the dot is not approved", async () => {
    await using server = await FakeSmtpServer.start();
    await using test = await startWorker(keepsIdle);
    test.delivering.mark = async () => false;
    await test.serve(request(1, server.relayhost));
    await returned(test);
  });

  it("goes back when the process drains", async () => {
    await using server = await FakeSmtpServer.start();
    const test = await startWorker(keepsIdle);
    await test.serve(request(1, server.relayhost));
    await test[Symbol.asyncDispose]();
    await returned(test);
  });

  it("goes back when the server has closed its side, not when QUIT is sent", async () => {
    await using server = await startSlowCloser();
    await using test = await startWorker({ POSTMQ_SMTP_CONNECTION_CACHE_ON_DEMAND: "no" });
    await test.serve(request(1, server.relayhost));
    await waitFor(() => server.hasQuit());
    assert.equal(out(test), 1);
    server.close();
    await returned(test);
  });

  it("goes back a second after QUIT though the server never closes", async () => {
    await using server = await startSlowCloser();
    await using test = await startWorker({ POSTMQ_SMTP_CONNECTION_CACHE_ON_DEMAND: "no" });
    await test.serve(request(1, server.relayhost));
    await returned(test);
    assert.equal(server.hasQuit(), true);
  });
});

describe("an idle connection", () => {
  it("gives way when another worker wants to connect there", async () => {
    await using server = await FakeSmtpServer.start();
    await using test = await startWorker(keepsIdle);
    await test.serve(request(1, server.relayhost));
    test.delivering.connections.onAsked("smtp:[192.0.2.1]:25");
    assert.equal(test.worker.cache.size, 1);
    test.delivering.connections.onAsked(`smtp:${server.relayhost}`);
    assert.equal(test.worker.cache.size, 0);
    await returned(test);
  });

  it("S32: is kept only if the scheduler asked for that; one that is there is used in any case", async () => {
    await using server = await FakeSmtpServer.start();
    await using test = await startWorker(keepsIdle);
    await test.serve(request(1, server.relayhost));
    assert.equal(test.worker.cache.size, 1);
    await test.worker.serve({
      requests: test.delivering.offer(request(2, server.relayhost)),
      keepsConnection: false,
    });
    assert.equal(test.worker.cache.size, 0);
    assert.equal(server.totalConnections, 1);
    assert.equal(server.messages.length, 2);
  });

  it("S32: serves a whole job whatever is kept after it", async () => {
    await using server = await FakeSmtpServer.start();
    await using test = await startWorker({ POSTMQ_SMTP_CONNECTION_CACHE_ON_DEMAND: "no" });
    await test.serve(...[1, 2, 3].map((number) => request(number, server.relayhost)));
    assert.equal(server.totalConnections, 1);
    assert.equal(test.worker.cache.size, 0);
  });

  it("S16: counts at the recipient that it serves", async () => {
    await using server = await FakeSmtpServer.start();
    await using test = await startWorker({ POSTMQ_DEFAULT_DESTINATION_RECIPIENT_LIMIT: "1" });
    await test.serve(request(1, server.relayhost));
    await test.serve(request(2, server.relayhost));
    assert.equal(server.totalConnections, 1);
    assert.deepEqual(
      [...test.delivering.open],
      [
        [`smtp:user1@${server.relayhost}`, 0],
        [`smtp:user2@${server.relayhost}`, 1],
      ],
    );
  });
});

describe("a destination without a place for one more connection", () => {
  const none = {
    onAsked: () => {},
    take: async () => undefined,
    isAskedFor: async () => false,
  };

  it("has its whole job put back, and is not to blame", async () => {
    await using server = await FakeSmtpServer.start();
    await using test = await startWorker({}, { connections: none });
    await test.serve(request(1, server.relayhost), request(2, server.relayhost));
    assert.deepEqual(
      test.delivering.ends.map(({ name, end, outcomes, feedback }) => [
        name.number,
        end,
        outcomes.length,
        feedback.kind,
      ]),
      [
        [1, "putBack", 0, "none"],
        [2, "putBack", 0, "none"],
      ],
    );
    assert.equal(server.totalConnections, 0);
    assert.deepEqual(test.log, [`no connection to smtp:${server.relayhost} came free: put back`]);
  });

  it("keeps what a server before has said", async () => {
    await using server = await FakeSmtpServer.start({
      decide: at("rcpt", { reply: "450 4.2.0 later" }),
    });
    await using test = await startWorker(keepsIdle);
    const { connections } = test.delivering;
    let places = 1;
    const take = connections.take.bind(connections);
    connections.take = async (options) => {
      places -= 1;
      return places < 0 ? undefined : await take(options);
    };
    await test.serve(request(1, `${server.relayhost}, ${server.relayhost}`));
    assert.equal(test.delivering.onlyEnd.end, "tried");
    assert.deepEqual(test.delivering.shownOutcomes, ["0 deferred 4.2.0"]);
    assert.equal(server.totalConnections, 1);
  });
});
