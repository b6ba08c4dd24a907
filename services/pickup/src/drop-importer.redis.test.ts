import assert from "node:assert/strict";
import {
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";

import { dropMessage } from "@postmq/drop-directory";
import type { DroppedMessage } from "@postmq/drop-directory";
import type { Intake, ListedMessage, Store } from "@postmq/queue-store";
import { startRedis, waitFor, withStore } from "@postmq/testing";
import type { RedisServer } from "@postmq/testing";
import { makeQueueId, parseQueueId } from "@postmq/vocabulary";

import { importDropped } from "./drop-importer.ts";
import type { DropImporterOptions } from "./drop-importer.ts";
import { DropWatch } from "./drop-watch.ts";

const id = makeQueueId(1_795_289_730_000_000, 1);
const message: DroppedMessage = {
  id,
  arrivalMs: 1_795_289_730_000,
  envelope: {
    sender: "a@src.example",
    origin: "sendmail",
    client: { name: "localhost", address: "", protocol: "", uid: 1234 },
  },
  recipients: [{ address: "b@dest.example" }],
};
const content = [Buffer.from("Subject: x\r\n\r\nhello\r\n")];

type Under = {
  readonly store: Store;
  readonly intake: Intake;
  readonly options: DropImporterOptions;
  readonly directory: string;
  readonly warnings: readonly string[];
};

describe("the drop directory's importer", () => {
  let redis: RedisServer;
  before(async () => {
    redis = await startRedis();
  });
  after(() => redis[Symbol.asyncDispose]());

  const withDirectory = (test: (under: Under) => Promise<void>, server = redis) =>
    withStore(
      async ({ store }) => {
        const directory = mkdtempSync(join(tmpdir(), "postmq-drop-"));
        const warnings: string[] = [];
        const warning = (text: string) => void warnings.push(text);
        const log = { info: () => undefined, warning, error: warning };
        const intake = store.intake();
        const options = { directory, intake, log, clock: store.clock, maxBytes: 1_000_000 };
        try {
          await test({ store, intake, options, directory, warnings });
        } finally {
          rmSync(directory, { recursive: true });
        }
      },
      { redis: server },
    );

  const listed = async (store: Store): Promise<readonly ListedMessage[]> =>
    (await store.looking().list("maildrop", { limit: 10 })).messages;
  const marks = (store: Store) => redis.cli("--scan", "--pattern", `*{${store.instanceName}}:k:*`);

  /** What the importer does first, and then the process dies. */
  async function commitAndDie(intake: Intake): Promise<void> {
    const writer = intake.openContent(id);
    for (const part of content) await writer.write(part);
    const { envelope, recipients } = message;
    const finished = await writer.finish();
    const new_ = { id, queue: "maildrop" as const, envelope, recipients, content: finished };
    assert.equal(await intake.commit({ ...new_, taken: true }), "stored");
  }

  it("stores a file's message under its own id, removes the file, and forgets the mark", () =>
    withDirectory(async ({ store, options, directory }) => {
      await dropMessage(directory, message, content);
      assert.equal(await importDropped(options), "done");
      const [stored, ...others] = await listed(store);
      assert.equal(others.length, 0);
      assert.equal(stored?.id, id);
      assert.equal(stored.envelope.client?.uid, 1234);
      assert.equal(stored.arrivalMs <= message.arrivalMs, true);
      const opened = await store.cleaning().open(id);
      assert.ok(typeof opened === "object");
      const bytes = await store.cleaning().readContent(opened.content);
      assert.equal(bytes.toString(), "Subject: x\r\n\r\nhello\r\n");
      assert.deepEqual(readdirSync(directory), []);
      assert.equal(await marks(store), "");
    }));

  it("fault 3: doubles nothing after a death between commit and unlink", () =>
    withDirectory(async ({ store, intake, options, directory }) => {
      await dropMessage(directory, message, content);
      await commitAndDie(intake);
      assert.equal(await importDropped(options), "done");
      assert.equal((await listed(store)).length, 1);
      assert.deepEqual(readdirSync(directory), []);
      assert.equal(await marks(store), "");
    }));

  it("fault 3: not even when the message has gone its way meanwhile", () =>
    withDirectory(async ({ store, intake, options, directory }) => {
      await dropMessage(directory, message, content);
      await commitAndDie(intake);
      const cleaning = store.cleaning();
      const opened = await cleaning.open(id);
      assert.ok(typeof opened === "object");
      const { envelope, recipients } = message;
      const finished = await cleaning.openContent(id).finish();
      const gone = { queue: "gone" as const, envelope, recipients, content: finished };
      assert.equal(await cleaning.release(opened, gone), "moved");
      assert.deepEqual(await listed(store), []);
      assert.equal(await importDropped(options), "done");
      assert.deepEqual(await listed(store), []);
      assert.deepEqual(readdirSync(directory), []);
    }));

  it("fault 3: loses nothing when Redis is away, and brings the file in when it is back", async () => {
    await using own = await startRedis();
    await withDirectory(async ({ store, options, directory }) => {
      await own.kill9();
      await dropMessage(directory, message, content);
      assert.equal(await importDropped(options), "later");
      assert.deepEqual(readdirSync(directory), [id]);
      await own.restart();
      await waitFor(async () => (await importDropped(options)) === "done");
      assert.equal((await listed(store)).length, 1);
      assert.deepEqual(readdirSync(directory), []);
    }, own);
  });

  it("keeps what it can't read as *.corrupt, with a warning, and goes on with the rest", () =>
    withDirectory(async ({ store, options, directory, warnings }) => {
      const torn = makeQueueId(1_795_289_729_000_000, 2);
      await dropMessage(directory, { ...message, id: torn }, content);
      truncateSync(join(directory, torn), 300);
      const kept = readFileSync(join(directory, torn));
      symlinkSync("/etc/passwd", join(directory, "link"));
      writeFileSync(join(directory, "rubbish"), "rubbish");
      await dropMessage(directory, message, content);
      assert.equal(await importDropped(options), "done");
      assert.deepEqual(readdirSync(directory).toSorted(), [
        `${torn}.corrupt`,
        "link.corrupt",
        "rubbish.corrupt",
      ]);
      assert.deepEqual(readFileSync(join(directory, `${torn}.corrupt`)), kept);
      assert.equal(warnings.length, 3);
      assert.deepEqual(
        (await listed(store)).map((each) => each.id),
        [id],
      );
      assert.equal(await importDropped(options), "done");
      assert.equal(warnings.length, 3);
    }));

  it("puts aside a message with a bad address, without recipients, or beyond message_size_limit", () =>
    withDirectory(async ({ store, options, directory, warnings }) => {
      const drop = (n: number, parts: Partial<DroppedMessage>, bytes = content) =>
        dropMessage(directory, { ...message, id: makeQueueId(1e15, n), ...parts }, bytes);
      await drop(1, { recipients: [{ address: "a@b@c" }] });
      await drop(2, { recipients: [] });
      await drop(3, { envelope: { ...message.envelope, sender: "a b@c.d" } });
      await drop(4, {}, [Buffer.alloc(1_000_001, "x")]);
      assert.equal(await importDropped(options), "done");
      assert.equal(warnings.length, 4);
      assert.ok(readdirSync(directory).every((name) => name.endsWith(".corrupt")));
      assert.deepEqual(await listed(store), []);
    }));

  it("sees altered content only at its end, and stores nothing of it", () =>
    withDirectory(async ({ store, options, directory }) => {
      await dropMessage(directory, message, [Buffer.alloc(900_000, "x\r\n")]);
      const bytes = readFileSync(join(directory, id));
      bytes[bytes.length - 1] = 0x20;
      writeFileSync(join(directory, id), bytes);
      assert.equal(await importDropped(options), "done");
      assert.deepEqual(await listed(store), []);
      assert.deepEqual(readdirSync(directory), [`${id}.corrupt`]);
      const left = await redis.cli("--scan", "--pattern", `*{${store.instanceName}}:c:*`);
      assert.equal(left, "");
    }));

  it("Q8: purges half-written files of more than 7 days", () =>
    withDirectory(async ({ options, directory }) => {
      writeFileSync(join(directory, `${id}.tmp`), "half");
      await importDropped(options);
      assert.deepEqual(readdirSync(directory), [`${id}.tmp`]);
      const oldS = Date.now() / 1000 - 8 * 24 * 3600;
      utimesSync(join(directory, `${id}.tmp`), oldS, oldS);
      await importDropped(options);
      assert.deepEqual(readdirSync(directory), []);
    }));

  it("wakes up when a file is dropped, and only one of two on the same directory works", () =>
    withDirectory(async ({ store, options, directory }) => {
      let taken = 0;
      const onTaken = () => void (taken += 1);
      const watches = [
        new DropWatch({ ...options, onTaken }),
        new DropWatch({ ...options, onTaken }),
      ];
      for (const watch of watches) watch.start();
      for (let n = 0; n < 10; n += 1) {
        const one = parseQueueId(makeQueueId(1e15 + n, n));
        assert.ok(one);
        await dropMessage(directory, { ...message, id: one }, content);
      }
      await waitFor(() => readdirSync(directory).length === 0, { describe: "an empty directory" });
      for (const watch of watches) await watch.stop();
      assert.equal((await listed(store)).length, 10);
      assert.equal(taken, 10);
    }));

  it("makes a missing directory, and takes in what lies there at start", () =>
    withDirectory(async ({ store, options, directory }) => {
      const deep = join(directory, "a", "maildrop");
      const first = new DropWatch({ ...options, directory: deep });
      first.start();
      await waitFor(() => existsSync(deep));
      await first.stop();
      await dropMessage(deep, message, content);
      const second = new DropWatch({ ...options, directory: deep });
      second.start();
      await waitFor(async () => (await listed(store)).length === 1);
      await second.stop();
    }));
});
