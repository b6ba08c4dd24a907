import { after, before, describe, it } from "node:test";
import assert from "node:assert/strict";
import { loadParameters } from "@postmq/config";
import { createMetrics } from "@postmq/observability";
import type {
  Fence,
  ImportedMessage,
  Intake,
  ListedMessage,
  NewMessage,
  Scheduling,
  Store,
} from "@postmq/queue-store";
import { startRedis, waitFor, withStore } from "@postmq/testing";
import type { RedisServer } from "@postmq/testing";
import type { MessageQueue, QueueId } from "@postmq/vocabulary";
import { startCleanup } from "./service.ts";

let redis: RedisServer;
before(async () => {
  redis = await startRedis();
});
after(async () => {
  await redis[Symbol.asyncDispose]();
});

/** A cleanup daemon on the store, its log, and what a test looks at. */
async function runCleanup(store: Store, env: Readonly<Record<string, string>> = {}) {
  const lines: string[] = [];
  const write = (level: string) => (text: string, id?: QueueId) =>
    void lines.push(`${id ?? ""} ${level}${text}`);
  const log = { info: write(""), warning: write("warning: "), error: write("error: ") };
  const parameters = loadParameters({
    env: {
      POSTMQ_MYHOSTNAME: "mx.example.com",
      POSTMQ_MYORIGIN: "example.com",
      POSTMQ_METRICS_LISTEN: "",
      ...env,
    },
    service: "cleanup",
  });
  const metrics = createMetrics("cleanup");
  const signal = new AbortController().signal;
  const service = await startCleanup({
    parameters,
    store,
    log,
    metrics,
    processName: "cleanup",
    signal,
  });
  return { lines, metrics, [Symbol.asyncDispose]: () => service.drain() };
}

async function drop(
  intake: Intake,
  content: Buffer,
  changes: Partial<NewMessage> = {},
): Promise<QueueId> {
  const id = intake.newId();
  const writer = intake.openContent(id);
  await writer.write(content);
  const message: NewMessage = {
    id,
    queue: "maildrop",
    envelope: {
      sender: "alice@example.net",
      origin: "sendmail",
      client: { name: "", address: "", protocol: "", uid: 7 },
    },
    recipients: [{ address: "bob" }],
    content: await writer.finish(),
    ...changes,
  };
  assert.equal(await intake.commit(message), "stored");
  return id;
}

/** An intake whose connections are open: a message on hold went through them. */
async function openIntake(store: Store): Promise<Intake> {
  const intake = store.intake();
  await drop(intake, Buffer.from("\r\n"), { queue: "hold" });
  return intake;
}

/** The message, once it is in that queue. */
function inQueue(store: Store, id: QueueId, queue: MessageQueue): Promise<ListedMessage> {
  const looking = store.looking();
  return waitFor(
    async () => {
      const message = await looking.message(id);
      return message?.queue === queue ? message : undefined;
    },
    { describe: `${id} in ${queue}` },
  );
}

/** All of incoming as the scheduler sees it. */
async function importAll(
  store: Store,
): Promise<readonly [Scheduling, Fence, readonly ImportedMessage[]]> {
  const fence = await store.leadership().acquire();
  assert.ok(fence !== undefined);
  const scheduling = store.scheduling();
  const options = { fence, from: "incoming", maxMessages: 100, maxRecipients: 100 } as const;
  return [scheduling, fence, await scheduling.importMessages(options)];
}

/** The content of the only message in incoming, as a delivery worker reads it. */
async function deliveredContent(store: Store): Promise<Buffer> {
  const [scheduling, fence, [message]] = await importAll(store);
  assert.ok(message !== undefined);
  const { id, generation: messageGeneration } = message;
  const destination = { transport: "smtp", nexthop: "example.org" };
  const requests = [{ id, messageGeneration, destination, recipients: [0] }];
  const [name] = await scheduling.dispatch(fence, requests);
  assert.ok(name !== undefined);
  const delivering = await store.delivering({ concurrency: 1 });
  const [claimed] = await delivering.claim([name]);
  assert.ok(typeof claimed === "object");
  if (claimed.inline !== undefined) return claimed.inline;
  const parts: Buffer[] = [];
  for await (const part of delivering.readContent(claimed.content)) parts.push(part);
  return Buffer.concat(parts);
}

describe("the cleanup daemon", () => {
  it("D33: ignores a request for VERP that is malformed, or with the null sender", () =>
    withStore(
      async ({ store }) => {
        await using cleanup = await runCleanup(store);
        const intake = await openIntake(store);
        const asked = async (sender: string, verpDelimiters: string) => {
          const envelope = { sender, origin: "sendmail", verpDelimiters } as const;
          const id = await drop(intake, Buffer.from("Subject: x\r\n"), { envelope });
          return (await inQueue(store, id, "incoming")).envelope.verpDelimiters;
        };
        assert.equal(await asked("a@example.net", "=-"), "=-");
        assert.equal(await asked("a@example.net", "+#"), undefined);
        assert.equal(await asked("", "+="), undefined);
        const warnings = cleanup.lines.filter((line) => line.includes("ignoring"));
        assert.match(warnings[0] ?? "", / warning: ignoring bad VERP request: "\+#"$/);
        assert.match(warnings[1] ?? "", / warning: ignoring VERP request for null sender$/);
        assert.equal(warnings.length, 2);
      },
      { redis },
    ));

  it("moves a message from maildrop to incoming, rewritten, and logs its message-id", () =>
    withStore(
      async ({ store }) => {
        await using cleanup = await runCleanup(store);
        const body = `\r\n${"..\r\n\u00FC\0 body\r\n".repeat(60_000)}`;
        const id = await drop(
          await openIntake(store),
          Buffer.from(`Subject: x\r\nBcc: z@y\r\n${body}`),
        );
        const { recipients } = await inQueue(store, id, "incoming");
        assert.deepEqual(
          recipients.map(({ address, original, state }) => [address, original, state.kind]),
          [["bob@example.com", "bob", "todo"]],
        );
        const text = (await deliveredContent(store)).toString();
        assert.match(text, /^Received: by mx\.example\.com \(postmq, from userid 7\)\r\n/);
        assert.ok(text.endsWith(`\r\nFrom: alice@example.net\r\n${body}`));
        assert.doesNotMatch(text, /^Bcc:/m);
        assert.deepEqual(cleanup.lines, [
          `${id} uid=7 from=<alice@example.net>`,
          `${id} message-id=<${id}@mx.example.com>`,
        ]);
        assert.match(
          await cleanup.metrics.text(),
          /postmq_cleanup_messages_total\{end="released"[^}]*\} 1/,
        );
      },
      { redis },
    ));

  it("lets the recipients of a looping message fail (R18)", () =>
    withStore(
      async ({ store }) => {
        await using cleanup = await runCleanup(store);
        const id = await drop(store.intake(), Buffer.from(`${"Received: x\r\n".repeat(60)}\r\n`));
        await inQueue(store, id, "incoming");
        const [, , [message]] = await importAll(store);
        assert.deepEqual([message?.undoneRecipients, message?.unreportedRecipients], [0, 1]);
        assert.ok(
          cleanup.lines.includes(
            `${id} refused: 554 5.4.0 too many hops; from=<alice@example.net>`,
          ),
        );
      },
      { redis },
    ));

  it("discards a message for nobody, with a warning (Q7)", () =>
    withStore(
      async ({ store }) => {
        await using cleanup = await runCleanup(store);
        const id = await drop(store.intake(), Buffer.from("Subject: x\r\n\r\n"), {
          envelope: { sender: "alice@example.net", origin: "sendmail", extractRecipients: true },
          recipients: [],
        });
        await waitFor(async () => (await store.looking().message(id)) === undefined);
        assert.match(
          cleanup.lines.join("\n"),
          /warning: no recipients specified: message from <alice@example.net> discarded/,
        );
      },
      { redis },
    ));

  it("parks a message whose content can't be read in corrupt, with the reason", () =>
    withStore(
      async ({ store, instanceName }) => {
        const id = await drop(store.intake(), Buffer.from("Subject: x\r\n\r\n"));
        assert.equal(await redis.cli("DEL", `postmq:{${instanceName}}:c:${id}`), "1");
        await using _cleanup = await runCleanup(store);
        const { corruptReason } = await inQueue(store, id, "corrupt");
        assert.match(corruptReason ?? "", /content/);
      },
      { redis },
    ));

  it("puts a message back when the store refuses the new content, and takes it again at the next sweep", () =>
    withStore(async ({ store, redis: own }) => {
      const intake = await openIntake(store);
      const id = await drop(intake, Buffer.from(`Subject: x\r\n\r\n${"y".repeat(400_000)}\r\n`));
      await own.cli("ACL", "SETUSER", "default", "-expire");
      await using cleanup = await runCleanup(store);
      await waitFor(() => cleanup.lines.some((line) => line.startsWith(`${id} warning: put back`)));
      assert.equal((await store.looking().message(id))?.queue, "maildrop");
      await own.cli("ACL", "SETUSER", "default", "+expire");
      await sweepUntil(store, () => inQueue(store, id, "incoming"));
    }));

  it("takes over a message that a dead cleanup had opened (fault 4)", () =>
    withStore(
      async ({ store, openAnother }) => {
        const dying = await openAnother({ heartbeatMs: 300, processName: "dying" });
        const id = await drop(store.intake(), Buffer.from("Subject: x\r\n\r\n"));
        assert.equal(typeof (await dying.cleaning().open(id)), "object");
        await using _cleanup = await runCleanup(store);
        await dying[Symbol.asyncDispose]();
        await sweepUntil(store, () => inQueue(store, id, "incoming"));
      },
      { redis },
    ));

  it("cleans one message once, however often and to whomever it is rung", () =>
    withStore(
      async ({ store, openAnother }) => {
        const intake = store.intake();
        const ids = await Promise.all(
          Array.from({ length: 50 }, () => drop(intake, Buffer.from("\r\nx\r\n"))),
        );
        await using one = await runCleanup(store);
        await using two = await runCleanup(await openAnother({ processName: "two" }));
        await sweepUntil(store, () => Promise.all(ids.map((id) => inQueue(store, id, "incoming"))));
        const logged = [...one.lines, ...two.lines].filter((line) => line.includes("message-id="));
        assert.equal(logged.length, ids.length);
      },
      { redis },
    ));

  it("S33 waits in_flow_delay with each message while nothing is imported, and then hands it on", () =>
    withStore(
      async ({ store }) => {
        await using _cleanup = await runCleanup(store, { POSTMQ_IN_FLOW_DELAY: "1s" });
        const intake = store.intake();
        const deliver = async () => {
          const id = await drop(intake, Buffer.from("\r\nx\r\n"));
          await inQueue(store, id, "incoming");
        };
        await deliver();
        const startMs = performance.now();
        await Promise.all([deliver(), deliver()]);
        assert.ok(performance.now() - startMs >= 990);
      },
      { redis, store: { processLimit: 1 } },
    ));

  it("S33 hands on at once what waits, when it drains", () =>
    withStore(
      async ({ store }) => {
        const intake = store.intake();
        await using cleanup = await runCleanup(store, { POSTMQ_IN_FLOW_DELAY: "10s" });
        const first = await drop(intake, Buffer.from("\r\nx\r\n"));
        await inQueue(store, first, "incoming");
        const second = await drop(intake, Buffer.from("\r\nx\r\n"));
        const startMs = performance.now();
        await waitFor(() => cleanup.lines.some((line) => line.startsWith(`${second} message-id=`)));
        await cleanup[Symbol.asyncDispose]();
        assert.equal((await store.looking().message(second))?.queue, "incoming");
        assert.ok(performance.now() - startMs < 9000);
      },
      { redis, store: { processLimit: 1 } },
    ));
});

/** What the leader does every few seconds, done over and over until `done`. */
async function sweepUntil(store: Store, done: () => Promise<unknown>): Promise<void> {
  const fence = await store.leadership().acquire();
  assert.ok(fence !== undefined);
  const scheduling = store.scheduling();
  let isDone = false;
  const waiting = done().then(() => (isDone = true));
  await Promise.all([
    waiting,
    waitFor(
      async () => {
        await scheduling.sweep(fence, 0);
        return isDone;
      },
      { everyMs: 50 },
    ),
  ]);
}
