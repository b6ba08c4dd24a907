import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { existsSync, mkdirSync, readdirSync } from "node:fs";
import { connect, createServer } from "node:net";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";

import { listDropped, openDropped } from "@postmq/drop-directory";
import type { ListedMessage, Store } from "@postmq/queue-store";
import { run, startRedis, withStore } from "@postmq/testing";
import type { RedisServer, StoreUnderTest } from "@postmq/testing";

import { commandRunner } from "../command.test-support.ts";
import type { Runner } from "../command.test-support.ts";

async function listed(store: Store): Promise<readonly ListedMessage[]> {
  return (await store.looking().list("maildrop", { limit: 10 })).messages;
}

async function contentOf(store: Store): Promise<string> {
  const cleaning = store.cleaning();
  const [message] = await listed(store);
  const opened = message === undefined ? "stale" : await cleaning.open(message.id);
  assert.ok(typeof opened === "object");
  return (await cleaning.readContent(opened.content)).toString("latin1");
}

describe("sendmail", () => {
  let redis: RedisServer;
  before(async () => {
    redis = await startRedis();
  });
  after(() => redis[Symbol.asyncDispose]());

  const withQueue = (
    test: (under: StoreUnderTest & { readonly command: Runner }) => Promise<void>,
  ) => {
    const instanceName = `test-${randomBytes(8).toString("hex")}`;
    return withStore(
      async (under) => {
        using command = commandRunner({ redisUrl: redis.url, instanceName });
        await test({ ...under, instanceName, command });
      },
      { redis, store: { instanceName } },
    );
  };

  it("stores the message in maildrop with its envelope, and says nothing", () =>
    withQueue(async ({ store, command }) => {
      const args = ["sendmail", "-f", "a@b.example", "-F", "A B", "-Nnever", "c@d.example", "root"];
      const ran = await command.run(args, { input: "Subject: x\n\nhello\n.\nnot this\n" });
      assert.deepEqual(ran, { code: 0, out: "", err: "" });
      const [message, ...others] = await listed(store);
      assert.equal(others.length, 0);
      assert.equal(message?.envelope.sender, "a@b.example");
      assert.equal(message.envelope.fullName, "A B");
      assert.equal(message.envelope.origin, "sendmail");
      assert.equal(message.envelope.client?.uid, 1234);
      assert.deepEqual(
        message.recipients.map(({ address, notify }) => [address, notify]),
        [
          ["c@d.example", ["NEVER"]],
          ["root", ["NEVER"]],
        ],
      );
      assert.equal(await contentOf(store), "Subject: x\r\n\r\nhello\r\n");
      assert.equal(existsSync(command.dropDirectory), false);
      assert.equal(await redis.cli("--scan", "--pattern", `*{${store.instanceName}}:k:*`), "");
    }));

  it("D33: stores the VERP delimiters that -XV names, and refuses others with exit 64", () =>
    withQueue(async ({ store, command }) => {
      const run = (...args: readonly string[]) =>
        command.run(["sendmail", "-f", ...args, "c@d.example"], { input: "Subject: x\n" });
      assert.equal((await run("a@b.example", "-XV")).code, 0);
      const [message] = await listed(store);
      assert.equal(message?.envelope.verpDelimiters, "+=");
      const bad = await run("a@b.example", "-XV#=");
      assert.deepEqual(
        [bad.code, bad.err],
        [64, "sendmail: fatal: -V requires two characters from -=+\n"],
      );
      const nobody = await run("<>", "-XV");
      assert.equal(nobody.code, 64);
      assert.match(nobody.err, /-V option requires non-null sender address/);
      assert.equal((await listed(store)).length, 1);
    }));

  it("-t leaves the recipients to cleanup, but wants at least one", () =>
    withQueue(async ({ store, command }) => {
      const none = await command.run(["sendmail", "-t"], { input: "Subject: x\n\nTo: a@b.c\n" });
      assert.equal(none.code, 64);
      assert.match(none.err, /No recipient addresses found in message header/);
      assert.deepEqual(await listed(store), []);
      const some = await command.run(["sendmail", "-t"], { input: "Bcc: a@b.example\n\nx\n" });
      assert.equal(some.code, 0, some.err);
      const [message] = await listed(store);
      assert.equal(message?.envelope.extractRecipients, true);
      assert.match(await contentOf(store), /^Bcc: a@b\.example\r\n/);
    }));

  it("P8: refuses no recipients with 64, a bad address with 65, too much with 69, and stores nothing", () =>
    withQueue(async ({ store, command }) => {
      const none = await command.run(["sendmail"], { input: "x\n" });
      assert.equal(none.code, 64);
      assert.match(none.err, /^sendmail: fatal: alice\(1234\): Recipient addresses must be /);
      assert.equal((await command.run(["sendmail", "a b@c.d"], { input: "x\n" })).code, 65);
      const env = { POSTMQ_MESSAGE_SIZE_LIMIT: "100" };
      const input = "x".repeat(101);
      const big = await command.run(["sendmail", "a@b.example"], { input, env });
      assert.equal(big.code, 69);
      assert.match(big.err, /message file too big: message_size_limit is 100 bytes/);
      assert.deepEqual(await listed(store), []);
      assert.equal(existsSync(command.dropDirectory), false);
    }));

  it("marks addresses outside ASCII", () =>
    withQueue(async ({ store, command }) => {
      assert.equal((await command.run(["sendmail", "ü@b.example"])).code, 0);
      assert.equal((await listed(store))[0]?.envelope.smtputf8, true);
    }));

  it("exits 65 when its input can't be read", () =>
    withQueue(async ({ store, instanceName }) => {
      const program = join(import.meta.dirname, "../../bin/postmq");
      const env = { POSTMQ_REDIS_URL: redis.url, POSTMQ_INSTANCE_NAME: instanceName };
      const ran = await run("/bin/sh", ["-c", `exec ${program} sendmail a@b.example </`], { env });
      assert.equal(ran.code, 65, ran.stderr);
      assert.match(ran.stderr, /error reading input/);
      assert.deepEqual(await listed(store), []);
    }));

  it("obeys authorized_submit_users with exit 77; root may always", () =>
    withQueue(async ({ command }) => {
      const env = { POSTMQ_AUTHORIZED_SUBMIT_USERS: "!alice, static:anyone" };
      const refused = await command.run(["sendmail", "a@b.example"], { env });
      assert.equal(refused.code, 77);
      assert.match(refused.err, /User alice\(1234\) is not allowed to submit mail/);
      assert.equal((await command.run(["sendmail", "a@b.example"], { env, uid: 0 })).code, 0);
    }));

  it("refuses a bad configuration with 78, naming the parameter", () =>
    withQueue(async ({ command }) => {
      const env = { POSTMQ_MESSAGE_SIZE_LIMIT: "much" };
      const ran = await command.run(["sendmail", "a@b.example"], { env });
      assert.equal(ran.code, 78);
      assert.match(ran.err, /message_size_limit/);
    }));

  it("asks to try again (75) when Redis is above its high-water mark, and drops no file", () =>
    withQueue(async ({ store, command }) => {
      const env = { POSTMQ_REDIS_MEMORY_HIGH_WATER: "0.0001" };
      await redis.cli("config", "set", "maxmemory", "1gb");
      try {
        const ran = await command.run(["sendmail", "a@b.example"], { env });
        assert.equal(ran.code, 75, ran.err);
        assert.deepEqual(await listed(store), []);
        assert.equal(existsSync(command.dropDirectory), false);
      } finally {
        await redis.cli("config", "set", "maxmemory", "0");
      }
    }));

  it("goes to another instance with --instance and with -oQ", () =>
    withQueue(async ({ command, openAnother, instanceName }) => {
      const other = `${instanceName.slice(0, 20)}-b`;
      const apart = await openAnother({ instanceName: other });
      assert.equal((await command.run(["sendmail", "--instance", other, "a@b.example"])).code, 0);
      assert.equal((await command.run(["sendmail", `-oQ${other}`, "a@b.example"])).code, 0);
      assert.equal((await listed(apart)).length, 2);
    }));

  it("fault 11: leaves the message in the drop directory when Redis is away, exit 0", async () => {
    using command = commandRunner({ redisUrl: "redis://127.0.0.1:1", instanceName: "away" });
    const args = ["sendmail", "-f", "a@b.example", "c@d.example"];
    const ran = await command.run(args, { input: "Subject: x\n\nhello\n" });
    assert.deepEqual(ran, { code: 0, out: "", err: "" });
    const [id] = await listDropped(command.dropDirectory);
    assert.ok(id);
    await using file = await openDropped(command.dropDirectory, id);
    assert.equal(file?.message.envelope.sender, "a@b.example");
    const content = Buffer.concat(await Array.fromAsync(file.readContent()));
    assert.equal(content.toString(), "Subject: x\r\n\r\nhello\r\n");
  });

  it("exits 75 when Redis is away and there is no drop directory, or none that can be written", async () => {
    using command = commandRunner({ redisUrl: "redis://127.0.0.1:1", instanceName: "away" });
    const without = await command.run(["sendmail", "c@d.example"], {
      env: { POSTMQ_DROP_DIRECTORY: "" },
    });
    assert.equal(without.code, 75);
    assert.match(without.err, /mail not queued, try again/);
    mkdirSync(command.dropDirectory, { mode: 0o777 });
    const env = { POSTMQ_DROP_DIRECTORY: "/proc/nowhere" };
    const unwritable = await command.run(["sendmail", "c@d.example"], { env });
    assert.equal(unwritable.code, 75);
    assert.match(unwritable.err, /drop_directory/);
  });

  it("fault 3: when the commit's answer is lost, the dropped file has the id that is marked as taken", () =>
    withQueue(async ({ store, instanceName }) => {
      // The commit script is known to Redis, so that the commit is one command with one answer.
      using direct = commandRunner({ redisUrl: redis.url, instanceName });
      assert.equal((await direct.run(["sendmail", "first@d.example"])).code, 0);
      await using proxy = await proxyThatHidesTheAnswer("canary-of-the-commit", redis.port);
      using command = commandRunner({ redisUrl: proxy.url, instanceName });
      const input = "Subject: canary-of-the-commit\n\nx\n";
      const ran = await command.run(["sendmail", "second@d.example"], { input });
      assert.deepEqual(ran, { code: 0, out: "", err: "" });
      const [dropped] = readdirSync(command.dropDirectory);
      const stored = (await listed(store)).find(({ id }) => id === dropped);
      assert.ok(stored, "the commit was made, and the file has its id");
      const mark = await redis.cli("--scan", "--pattern", `*{${instanceName}}:k:*`);
      assert.ok(mark.endsWith(`:${dropped}`), mark);
    }));
});

/** Passes everything on to Redis, but cuts the connection instead of answering a command that holds the canary. */
async function proxyThatHidesTheAnswer(canary: string, port: number) {
  const server = createServer((client) => {
    const target = connect(port, "127.0.0.1");
    let isHiding = false;
    client.on("data", (bytes) => {
      if (bytes.includes(canary)) isHiding = true;
      target.write(bytes);
    });
    target.on("data", (bytes) => {
      if (isHiding) client.destroy();
      else client.write(bytes);
    });
    for (const [from, to] of [[client, target] as const, [target, client] as const]) {
      from.on("error", () => to.destroy());
      from.on("close", () => to.destroy());
    }
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address() as AddressInfo;
  return {
    url: `redis://127.0.0.1:${address.port}`,
    [Symbol.asyncDispose]: () => new Promise<void>((done) => server.close(() => done())),
  };
}
