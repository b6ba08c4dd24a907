/**
 * Faults 1, 2, 3 and 7, one step at a time: a process dies exactly there, and the copies that arrive are counted.
 *
 * The random kills are in kill-9.test.ts; here a proxy before Redis or the sink itself stops the victim at the step.
 */
import assert from "node:assert/strict";
import { readdir, rename } from "node:fs/promises";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";

import {
  FakeSmtpServer,
  findBrokenInvariants,
  sendMail,
  SmtpClient,
  startPostmq,
  startRedis,
  submitRaw,
  TcpProxy,
  testIdOf,
  testMail,
  waitFor,
} from "@postmq/testing";
import type { Behaviour, PostmqSystem, ReceivedMessage } from "@postmq/testing";
import type { ServiceName } from "@postmq/vocabulary";

import { probeDepth, probeRequests, waitUntilDrained } from "../support/redis-probe.ts";

const quick = {
  minimal_backoff_time: "1s",
  maximal_backoff_time: "1s",
  queue_run_delay: "1s",
  sweep_interval: "1s",
  worker_heartbeat_time: "3s",
};

/** A system in which one service, the first, reaches Redis through a proxy. */
async function startWithProxy(
  stack: AsyncDisposableStack,
  services: readonly [ServiceName, ...(readonly ServiceName[])],
) {
  const sink = stack.use(await FakeSmtpServer.start());
  const redis = stack.use(await startRedis());
  const proxy = stack.use(await TcpProxy.start(redis.port));
  const system = stack.use(
    await startPostmq({
      redis,
      services,
      parameters: { ...quick, relayhost: sink.relayhost },
      parametersOf: (name) =>
        name === services[0] ? { redis_url: `redis://127.0.0.1:${proxy.port}` } : undefined,
    }),
  );
  const copiesOf = (id: string) =>
    sink.accepted.filter(({ content }) => testIdOf(content) === id).length;
  return { sink, redis, proxy, system, copiesOf };
}

async function killAndRestart(system: PostmqSystem, name: ServiceName, proxy: TcpProxy) {
  await system.service(name).kill9();
  proxy.cut();
  proxy.resume();
  await system.restart(name);
}

describe("fault 1: smtpd dies during DATA", () => {
  it("V7 delivers nothing of it, nor of a client that hangs up, and keeps no content", async () => {
    await using stack = new AsyncDisposableStack();
    const { sink, redis, proxy, system } = await startWithProxy(stack, [
      "smtpd",
      "qmgr",
      "smtp-delivery",
    ]);
    const half = `Subject: half of a message\r\n\r\n${"a line of some text\r\n".repeat(50_000)}`;
    const sendHalf = async () => {
      const client = await SmtpClient.open(system.smtpPort);
      await client.command("MAIL FROM:<a@src.example.com>");
      await client.command("RCPT TO:<b@dest.example.com>");
      await client.command("DATA");
      client.send(half);
      await waitFor(async () => (await redis.cli("KEYS", "postmq:*:c:*")) !== "", {
        describe: "content stored ahead",
      });
      return client;
    };
    (await sendHalf())[Symbol.dispose]();
    await waitFor(() => system.logs.includes("lost connection after DATA"));
    await waitFor(async () => (await redis.cli("KEYS", "postmq:*:c:*")) === "", {
      describe: "content of a client that hung up to go",
    });
    using client = await sendHalf();
    const ended = assert.rejects(client.reply(), /ended/);
    await killAndRestart(system, "smtpd", proxy);
    await ended;
    const [left = ""] = (await redis.cli("KEYS", "postmq:*:c:*")).split("\n");
    assert.ok(Number(await redis.cli("TTL", left)) > 0, "content that nobody commits must expire");
    assert.equal((await sendMail(system.smtpPort, testMail())).code, 250);
    await waitFor(() => sink.accepted.length === 1);
    await waitUntilDrained(redis);
    assert.equal(sink.messages.length, 1);
  });
});

describe("fault 2: smtpd dies between the commit and its 250", () => {
  it("Q11 the message is delivered once, though its client saw no answer", async () => {
    await using stack = new AsyncDisposableStack();
    const { redis, proxy, system, copiesOf } = await startWithProxy(stack, [
      "smtpd",
      "qmgr",
      "smtp-delivery",
    ]);
    assert.equal((await sendMail(system.smtpPort, testMail())).code, 250);
    const mail = testMail();
    using client = await SmtpClient.open(system.smtpPort);
    proxy.holdReplies();
    const answer = assert.rejects(client.deliver(mail), /ended/);
    await waitFor(() => copiesOf(mail.id) === 1, {
      describe: () => `the mail to be committed\n${system.lastLines()}`,
    });
    await killAndRestart(system, "smtpd", proxy);
    await answer;
    await waitUntilDrained(redis);
    assert.equal(copiesOf(mail.id), 1);
    assert.deepEqual(await findBrokenInvariants(redis), []);
  });
});

describe("fault 3: pickup dies between the commit and the unlink", () => {
  it("delivers a dropped file once, however often it is read", async () => {
    await using stack = new AsyncDisposableStack();
    const { redis, proxy, system, copiesOf } = await startWithProxy(stack, [
      "pickup",
      "cleanup",
      "qmgr",
      "smtp-delivery",
    ]);
    const mail = testMail();
    const dropDirectory = system.env["POSTMQ_DROP_DIRECTORY"] ?? "";
    const elsewhere = join(system.directory, "elsewhere");
    const { code, stderr } = await system.command("sendmail", ["-i", ...mail.to], {
      input: mail.content,
      parameters: { redis_url: "redis://127.0.0.1:1", drop_directory: elsewhere },
    });
    assert.equal(code, 0, stderr);
    const [file = ""] = await readdir(elsewhere);
    // The script of the commit is known to Redis from the first one.
    assert.equal((await submitRaw(system.submissionUrl, testMail())).status, 202);
    // From here on pickup hears nothing of what Redis answers.
    proxy.holdReplies();
    await rename(join(elsewhere, file), join(dropDirectory, file));
    await waitFor(() => copiesOf(mail.id) === 1, {
      describe: () => `the dropped file to be committed\n${system.lastLines()}`,
    });
    assert.equal((await readdir(dropDirectory)).length, 1, "unlinked without an answer");
    await killAndRestart(system, "pickup", proxy);
    await waitFor(async () => (await readdir(dropDirectory)).length === 0, {
      // Less than the minute after which pickup looks in any case.
      timeoutMs: 30_000,
      describe: () => `the file to go\n${system.lastLines()}`,
    });
    await waitUntilDrained(redis);
    assert.equal(copiesOf(mail.id), 1);
  });
});

describe("fault 7: a delivery worker dies", () => {
  const stack = new AsyncDisposableStack();
  let parts: Awaited<ReturnType<typeof startWithProxy>>;

  before(async () => {
    parts = await startWithProxy(stack, ["smtp-delivery", "smtpd", "qmgr"]);
  });

  after(() => stack.disposeAsync());

  /** Sends one mail, lets `untilStep` bring the worker to the step, kills it there. @returns the copies that arrive. */
  async function copiesAfterKill(
    decide: (stage: string) => Behaviour | undefined,
    untilStep: (arrived: () => ReceivedMessage | undefined) => Promise<void>,
  ): Promise<number> {
    const { sink, redis, proxy, system, copiesOf } = parts;
    const before = sink.messages.length;
    let isFirst = true;
    sink.decide = ({ stage }) => (isFirst ? decide(stage) : undefined);
    const mail = testMail();
    assert.equal((await sendMail(system.smtpPort, mail)).code, 250);
    await untilStep(() => sink.messages[before]);
    await system.service("smtp-delivery").kill9();
    isFirst = false;
    proxy.cut();
    proxy.resume();
    await system.restart("smtp-delivery");
    await waitFor(() => sink.messages.some(({ content }) => testIdOf(content) === mail.id), {
      describe: () => `the mail\n${system.lastLines()}`,
    });
    await waitUntilDrained(redis);
    assert.deepEqual(await findBrokenInvariants(redis), []);
    assert.equal(await probeDepth(redis, "corrupt"), 0);
    return copiesOf(mail.id);
  }

  it("before the dot: one copy", async () => {
    const copies = await copiesAfterKill(
      (stage) => (stage === "data" ? { hangs: true } : undefined),
      async () => {
        await waitFor(() => parts.sink.openConnections > 0);
        await waitFor(async () => (await probeRequests(parts.redis))[0]?.state === "claimed");
      },
    );
    assert.equal(copies, 1);
  });

  it("after the dot, before the reply: one copy more at most", async () => {
    const copies = await copiesAfterKill(
      (stage) => (stage === "dot" ? { delayMs: 60_000 } : undefined),
      async (arrived) => {
        await waitFor(() => arrived() !== undefined);
        assert.equal((await probeRequests(parts.redis))[0]?.state, "dotSent");
      },
    );
    assert.equal(copies, 2);
  });

  it("after the 250 was read, before it was recorded: one copy more", async () => {
    const copies = await copiesAfterKill(
      (stage) => {
        // Nothing reaches Redis from here on: the worker reads its 250 and can't tell.
        if (stage === "dot") parts.proxy.pause();
        return undefined;
      },
      async (arrived) => {
        await waitFor(() => arrived()?.answeredMs !== undefined);
        assert.equal((await probeRequests(parts.redis))[0]?.state, "dotSent");
      },
    );
    assert.equal(copies, 2);
  });

  it("after the outcome was recorded: one copy", async () => {
    const copies = await copiesAfterKill(
      () => undefined,
      async (arrived) => {
        await waitFor(
          async () => arrived() !== undefined && (await probeRequests(parts.redis)).length === 0,
        );
      },
    );
    assert.equal(copies, 1);
  });
});
