import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { createSocket } from "node:dgram";
import { mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { pathToFileURL } from "node:url";

import { loadParameters } from "@postmq/config";
import { createMetrics } from "@postmq/observability";
import type { LeaderEvent, Scheduling, Store } from "@postmq/queue-store";
import { FakeSmtpServer, startRedis, waitFor, withStore } from "@postmq/testing";
import type { RedisServer, StoreUnderTest } from "@postmq/testing";
import { enhancedStatus } from "@postmq/vocabulary";
import type { MessageOrigin, QueueId } from "@postmq/vocabulary";

import { message } from "./delivery.test-support.ts";
import { writeHeldOutcomes } from "./job/held-outcomes.ts";
import { startSmtpDelivery } from "./service.ts";

let redis: RedisServer;
before(async () => {
  redis = await startRedis();
});
after(async () => {
  await redis[Symbol.asyncDispose]();
});

type Env = Readonly<Record<string, string>>;

/** The daemon on a store, as service-kit runs it. */
async function runDelivery(store: Store, env: Env = {}) {
  const lines: string[] = [];
  const write = (level: string) => (text: string, id?: QueueId) =>
    void lines.push(`${id ?? ""} ${level}${text}`);
  const draining = new AbortController();
  const service = await startSmtpDelivery({
    parameters: loadParameters({
      env: { POSTMQ_MYHOSTNAME: "mx.example.com", POSTMQ_DATA_DIRECTORY: "", ...env },
      service: "smtp-delivery",
    }),
    store,
    log: { info: write(""), warning: write("warning: "), error: write("error: ") },
    metrics: createMetrics("smtp-delivery"),
    processName: "smtp-delivery",
    signal: draining.signal,
  });
  return {
    lines,
    service,
    [Symbol.asyncDispose]: async () => {
      draining.abort();
      await service.drain();
    },
  };
}

/** A scheduler that has put one message into active and dispatched it. */
async function dispatchOne(store: Store, nexthop: string, origin: MessageOrigin = "smtp") {
  const intake = store.intake();
  const id = intake.newId();
  const content = intake.openContent(id);
  await content.write(message);
  await intake.commit({
    id,
    queue: "incoming",
    envelope: { sender: "sender@example.com", origin },
    recipients: [{ address: "user@example.net" }],
    content: await content.finish(),
  });
  const fence = await store.leadership().acquire();
  assert.ok(fence !== undefined);
  const scheduling = store.scheduling();
  await scheduling.startEvents();
  const options = { fence, from: "incoming", maxMessages: 10, maxRecipients: 10 } as const;
  const [imported] = await scheduling.importMessages(options);
  assert.ok(imported !== undefined);
  const destination = { transport: "smtp", nexthop };
  const request = { id, messageGeneration: imported.generation, destination, recipients: [0] };
  const [name] = await scheduling.dispatch(fence, [request]);
  assert.ok(name !== undefined);
  return { id, name, scheduling, fence };
}

/** The next `ended` event. */
async function ended(scheduling: Scheduling): Promise<Extract<LeaderEvent, { kind: "ended" }>> {
  return await waitFor(async () => {
    const { events } = await scheduling.readEvents(100);
    return events.find((event) => event.kind === "ended");
  });
}

/** Hears each question and answers none. */
async function silentNameServer() {
  const socket = createSocket("udp4");
  await new Promise<void>((resolve) => {
    socket.bind(0, "127.0.0.1", resolve);
  });
  return {
    port: socket.address().port,
    [Symbol.asyncDispose]: () => new Promise<void>((resolve) => socket.close(resolve)),
  };
}

/** An instance name that a process can be given as a parameter. */
const shortName = () => `delivery-${randomBytes(6).toString("hex")}`;

const onRedis = (test: (under: StoreUnderTest) => Promise<void>) => () =>
  withStore(test, { redis, store: { instanceName: shortName() } });

describe("the delivery daemon", () => {
  it(
    "D9 tells the postmaster of a server that spoke out of turn, with what was said, where that is wanted",
    onRedis(async ({ store }) => {
      await using server = await FakeSmtpServer.start({
        decide: ({ stage }) => (stage === "rcpt" ? { reply: "500 what" } : undefined),
      });
      await using daemon = await runDelivery(store, {
        POSTMQ_NOTIFY_CLASSES: "protocol",
        POSTMQ_MYORIGIN: "example.org",
      });
      const { id, name, scheduling } = await dispatchOne(store, server.relayhost);
      await scheduling.ringDelivery({ requests: [name], keepsConnection: false, isAlone: false });
      await ended(scheduling);
      const [notice] = await waitFor(async () => {
        const { messages } = await store.looking().list("incoming", { limit: 10 });
        return messages.length > 0 ? messages : undefined;
      });
      assert.equal(notice?.envelope.sender, "double-bounce@example.org");
      assert.deepEqual(
        notice.recipients.map(({ address }) => address),
        ["postmaster@example.org"],
      );
      const chunks = await Array.fromAsync(
        store.looking().readContent({
          contentId: notice.id,
          sizeBytes: notice.sizeBytes,
          chunks: 1,
        }),
      );
      const text = Buffer.concat(chunks).toString();
      assert.match(text, /^Auto-Submitted: auto-generated\r$/m);
      assert.match(
        text,
        / Out: EHLO mx\.example\.com\r\n In: {2}250[\s\S]* Out: RCPT TO:<user@example\.net>/,
      );
      assert.match(text, / In: {2}500 what/);
      assert.ok(!daemon.lines.some((line) => line.includes("warning")), daemon.lines.join("\n"));
      assert.notEqual(notice.id, id);
    }),
  );

  it(
    "D9 D28 makes no notice of how a notice or a report fared, so that none begets another",
    onRedis(async ({ store }) => {
      await using server = await FakeSmtpServer.start({
        decide: ({ stage }) => (stage === "rcpt" ? { reply: "503 what" } : undefined),
      });
      {
        await using _daemon = await runDelivery(store, { POSTMQ_NOTIFY_CLASSES: "protocol" });
        const { name, scheduling } = await dispatchOne(store, server.relayhost, "bounce");
        await scheduling.ringDelivery({ requests: [name], keepsConnection: false, isAlone: false });
        await ended(scheduling);
      }
      // The daemon has drained: what it had to say is said.
      assert.equal((await store.looking().list("incoming", { limit: 10 })).messages.length, 0);
    }),
  );

  it(
    "delivers a request that is rung, records the outcome and logs it",
    onRedis(async ({ store }) => {
      await using server = await FakeSmtpServer.start();
      await using daemon = await runDelivery(store);
      const { id, name, scheduling } = await dispatchOne(store, server.relayhost);
      await scheduling.ringDelivery({ requests: [name], keepsConnection: false, isAlone: false });
      const event = await ended(scheduling);
      assert.deepEqual(
        { request: event.request, end: event.end, sent: event.sent, feedback: event.feedback },
        { request: name, end: "tried", sent: 1, feedback: { kind: "good" } },
      );
      assert.deepEqual(server.messages[0]?.content, message);
      assert.match(
        await waitFor(() => daemon.lines[0]),
        new RegExp(
          `^${id} to=<user@example.net>, relay=127\\.0\\.0\\.1\\[127\\.0\\.0\\.1\\]:${server.port}, ` +
            String.raw`delay=\S+, delays=\S+, dsn=2\.0\.0, status=sent \(250 2\.0\.0 Ok: queued\)$`,
        ),
      );
      assert.equal(daemon.service.notReady(), undefined);
    }),
  );

  it(
    "DESIGN §3: a ring that comes twice is delivered once",
    onRedis(async ({ store }) => {
      await using server = await FakeSmtpServer.start();
      const daemon = await runDelivery(store);
      const { name, scheduling } = await dispatchOne(store, server.relayhost);
      const bell = { requests: [name, name], keepsConnection: false, isAlone: false };
      await Promise.all([1, 2, 3].map(() => scheduling.ringDelivery(bell)));
      await ended(scheduling);
      await daemon[Symbol.asyncDispose]();
      assert.equal(server.messages.length, 1);
    }),
  );

  it(
    "P5: outcomes that an earlier run left in data_directory are recorded at start",
    onRedis(async ({ store }) => {
      const directory = await mkdtemp(join(tmpdir(), "postmq-delivery-"));
      try {
        const { id, name } = await dispatchOne(store, "[127.0.0.1]:9");
        const status = enhancedStatus("2.0.0");
        const outcome = { recipient: 0, kind: "sent", status, reason: "250 Ok" } as const;
        await writeHeldOutcomes(directory, "earlier", [
          { name, end: "tried", outcomes: [outcome], feedback: { kind: "good" } },
        ]);
        await using _daemon = await runDelivery(store, { POSTMQ_DATA_DIRECTORY: directory });
        const listed = await store.looking().message(id);
        assert.equal(listed?.undoneRecipients, 0);
        assert.deepEqual(await readdir(join(directory, "outcomes")), []);
      } finally {
        await rm(directory, { recursive: true, force: true });
      }
    }),
  );
});

describe("a message that is tried alone", () => {
  const inherit = (store: Store, more: Env = {}) => {
    const env = {
      POSTMQ_REDIS_URL: redis.url,
      POSTMQ_INSTANCE_NAME: store.instanceName,
      POSTMQ_MYHOSTNAME: "mx.example.com",
      POSTMQ_DATA_DIRECTORY: tmpdir(),
      ...more,
    };
    const before = Object.fromEntries(Object.keys(env).map((key) => [key, process.env[key]]));
    Object.assign(process.env, env);
    return {
      [Symbol.dispose]: () => {
        for (const [key, value] of Object.entries(before)) {
          if (value === undefined) delete process.env[key];
          else process.env[key] = value;
        }
      },
    };
  };

  it(
    "39: is delivered by a process of its own",
    onRedis(async ({ store }) => {
      using _env = inherit(store);
      await using server = await FakeSmtpServer.start();
      await using daemon = await runDelivery(store);
      const { name, scheduling } = await dispatchOne(store, server.relayhost);
      await scheduling.ringDelivery({ requests: [name], keepsConnection: false, isAlone: true });
      const event = await ended(scheduling);
      assert.deepEqual([event.end, event.sent], ["tried", 1]);
      assert.equal(server.messages.length, 1);
      // The daemon itself has delivered nothing.
      assert.deepEqual(daemon.lines, []);
    }),
  );

  it(
    "S35: a delivery that takes longer than daemon_timeout ends its process as a bug does",
    onRedis(async ({ store }) => {
      // No server can take so long; here it is DNS, whose deadlines are longer than this daemon_timeout.
      await using silent = await silentNameServer();
      using _env = inherit(store, {
        POSTMQ_DAEMON_TIMEOUT: "1s",
        POSTMQ_DNS_SERVERS: `127.0.0.1:${silent.port}`,
      });
      await using daemon = await runDelivery(store);
      const { name, scheduling } = await dispatchOne(store, "example.net");
      await scheduling.ringDelivery({ requests: [name], keepsConnection: false, isAlone: true });
      await waitFor(() => daemon.lines.some((line) => line.endsWith("ended with status 70")));
      // The claim is the leader's to reap.
      assert.equal((await scheduling.inspectRequests([name]))[0]?.state, "claimed");
    }),
  );

  it(
    "39: kills that process and nobody else",
    onRedis(async ({ store }) => {
      const directory = await mkdtemp(join(tmpdir(), "postmq-poison-"));
      try {
        const poison = join(directory, "poison.mjs");
        await writeFile(
          poison,
          `import { Socket } from "node:net";
           const write = Socket.prototype.write;
           Socket.prototype.write = function (data, ...rest) {
             if (String(data).includes("Subject: x")) process.kill(process.pid, "SIGKILL");
             return write.call(this, data, ...rest);
           };`,
        );
        using _env = inherit(store, {
          NODE_OPTIONS: `--import=${pathToFileURL(poison).href}`,
        });
        await using server = await FakeSmtpServer.start();
        await using daemon = await runDelivery(store);
        const { name, scheduling } = await dispatchOne(store, server.relayhost);
        await scheduling.ringDelivery({ requests: [name], keepsConnection: false, isAlone: true });
        await waitFor(() =>
          daemon.lines.some((line) => line.endsWith("ended with signal SIGKILL")),
        );
        const [open] = await scheduling.inspectRequests([name]);
        assert.equal(open?.state, "dotSent");
        assert.equal(daemon.service.notReady(), undefined);
      } finally {
        await rm(directory, { recursive: true, force: true });
      }
    }),
  );
});
