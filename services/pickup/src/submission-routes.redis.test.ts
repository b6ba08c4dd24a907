import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { request } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";

import type { Intake, ListedMessage, Store } from "@postmq/queue-store";
import { makeToken, openHttpServer } from "@postmq/service-kit";
import { startRedis, submitJson, submitRaw, waitFor, withStore } from "@postmq/testing";
import type { RedisServer } from "@postmq/testing";

import { submissionRoutes } from "./submission-routes.ts";

const mail = {
  from: "a@src.example",
  to: ["b@dest.example"],
  content: Buffer.from("Subject: x\r\n\r\nhello\r\n"),
};
const json = { mail_from: mail.from, rcpt_to: mail.to };
const quiet = { info: () => undefined, warning: () => undefined, error: () => undefined };

async function open(
  store: Store,
  options: { readonly tokensFile?: string; readonly intake?: Intake } = {},
) {
  const tokensFile = options.tokensFile ?? "";
  const server = await openHttpServer({
    listen: "127.0.0.1:0",
    listenParameter: "pickup_listen",
    tokensFile,
    log: quiet,
    bodyLimitBytes: 20_000_000,
    routes: (app, needs) =>
      submissionRoutes(app, needs, {
        intake: options.intake ?? store.intake(),
        log: quiet,
        maxBytes: 6_000_000,
        rules: { maxRecipients: 10, verp: { delimiters: "+=", allowed: "-=+" } },
        myhostname: "mail.example.com",
        hasTokens: tokensFile !== "",
        nowMs: () => store.clock.nowMs(),
        onTaken: () => undefined,
      }),
  });
  return { url: `http://${server.address}`, [Symbol.asyncDispose]: () => server.close() };
}

async function listed(store: Store): Promise<readonly ListedMessage[]> {
  return (await store.looking().list("maildrop", { limit: 10 })).messages;
}

describe("POST /v1/messages", () => {
  let redis: RedisServer;
  before(async () => {
    redis = await startRedis();
  });
  after(() => redis[Symbol.asyncDispose]());

  const withSubmission = (test: (store: Store, url: string) => Promise<void>) =>
    withStore(
      async ({ store }) => {
        await using server = await open(store);
        await test(store, server.url);
      },
      { redis },
    );

  const contentKeys = (store: Store) =>
    redis.cli("--scan", "--pattern", `*{${store.instanceName}}:c:*`);

  it("answers 202 with Location, id and recipients once the message is in maildrop", () =>
    withSubmission(async (store, url) => {
      const answer = await submitRaw(url, { ...mail, to: ["b@dest.example", "c+d@dest.example"] });
      const id = answer.body["id"];
      assert.equal(answer.status, 202);
      assert.equal(answer.headers.get("location"), `/v1/messages/${String(id)}`);
      assert.deepEqual(answer.body, {
        id,
        queue_id: id,
        queue: "maildrop",
        recipients: ["b@dest.example", "c+d@dest.example"],
      });
      const [message] = await listed(store);
      assert.ok(message);
      assert.equal(message.id, id);
      assert.equal(message.envelope.origin, "http");
      assert.equal(message.envelope.client?.protocol, "HTTP");
      assert.equal(message.envelope.client?.address, "127.0.0.1");
    }));

  it("keeps a large raw message byte for byte, and mends line ends", () =>
    withSubmission(async (store, url) => {
      const line = Buffer.concat([Buffer.from([0xff, 0x2e]), randomBytes(60).fill(0x61, 0, 60)]);
      const body = Buffer.concat(
        Array.from({ length: 80_000 }, () => Buffer.concat([line, Buffer.from("\r\n")])),
      );
      const content = Buffer.concat([mail.content, body]);
      assert.equal((await submitRaw(url, { ...mail, content })).status, 202);
      const bare = Buffer.from("Subject: y\n\nLF\rCR");
      assert.equal((await submitRaw(url, { ...mail, content: bare })).status, 202);
      const cleaning = store.cleaning();
      const contents = await Promise.all(
        (await listed(store)).map(async ({ id }) => {
          const opened = await cleaning.open(id);
          assert.ok(typeof opened === "object");
          return await cleaning.readContent(opened.content);
        }),
      );
      const digest = (bytes: Buffer) => createHash("sha256").update(bytes).digest("hex");
      const digests = contents.map(digest);
      assert.ok(digests.includes(digest(content)), "the large one arrived changed");
      assert.ok(contents.some((each) => each.toString() === "Subject: y\r\n\r\nLF CR\r\n"));
    }));

  it("makes a message of parts", () =>
    withSubmission(async (store, url) => {
      const content = { subject: "Hi", text: "hello", to: "b@dest.example" };
      const answer = await submitJson(url, { ...json, content });
      assert.equal(answer.status, 202, JSON.stringify(answer.body));
      const cleaning = store.cleaning();
      const [message] = await listed(store);
      assert.ok(message);
      const opened = await cleaning.open(message.id);
      assert.ok(typeof opened === "object");
      const text = (await cleaning.readContent(opened.content)).toString();
      assert.match(text, new RegExp(`^Message-ID: <${message.id}@mail\\.example\\.com>\r$`, "m"));
      assert.match(text, /\r\n\r\nhello\r\n$/);
    }));

  it("refuses an Idempotency-Key, which it would not keep to", () =>
    withSubmission(async (store, url) => {
      const answer = await fetch(`${url}/v1/messages`, {
        method: "POST",
        headers: { "content-type": "application/json", "idempotency-key": "k" },
        body: JSON.stringify({ ...json, content: { subject: "s", text: "t" } }),
      });
      assert.equal(answer.status, 422);
      assert.deepEqual(await listed(store), []);
    }));

  it("P8: answers problem+json and leaves nothing behind: 400, 413, 415, 422", () =>
    withSubmission(async (store, url) => {
      const raw = mail.content.toString("base64");
      const large = Buffer.alloc(6_000_001, "x");
      const answers = [
        [400, await submitJson(url, "{not json")],
        [400, await submitJson(url, '{"__proto__":{"x":1}}')],
        [413, await submitJson(url, { ...json, raw: large.toString("base64") })],
        [413, await submitRaw(url, { ...mail, content: large })],
        [413, await submitRaw(url, { ...mail, content: Buffer.alloc(20_000_000, "x\n") })],
        [422, await submitRaw(url, { ...mail, content: Buffer.alloc(0) })],
        [422, await submitJson(url, { ...json, raw, rcpt_to: ["nobody"] })],
        [422, await submitRaw(url, { ...mail, to: [] })],
      ] as const;
      for (const [status, answer] of answers) {
        assert.equal(answer.status, status, JSON.stringify(answer.body));
        assert.match(answer.contentType, /^application\/problem\+json/);
      }
      assert.deepEqual(await listed(store), []);
      assert.equal(await contentKeys(store), "");
    }));

  it("fault 1: a caller that goes away in mid message leaves nothing behind", () =>
    withSubmission(async (store, url) => {
      const { port } = new URL(url);
      const sending = request({
        port,
        method: "POST",
        path: "/v1/messages?mail_from=&rcpt_to=b@dest.example",
        headers: { "content-type": "message/rfc822", "content-length": "5000000" },
      });
      sending.on("error", () => undefined);
      sending.write(Buffer.alloc(2_000_000, "x\n"));
      await waitFor(async () => (await contentKeys(store)) !== "", {
        describe: "the first chunks",
      });
      sending.destroy();
      await waitFor(async () => (await contentKeys(store)) === "", { describe: "no chunks" });
      assert.deepEqual(await listed(store), []);
    }));

  it("P11: wants a token with the scope messages:send, and lets it send only as it may", () =>
    withStore(
      async ({ store }) => {
        const directory = mkdtempSync(join(tmpdir(), "postmq-tokens-"));
        try {
          const sender = await makeToken({
            name: "app",
            scopes: ["messages:send"],
            senders: ["@src.example"],
          });
          const reader = await makeToken({ name: "eye", scopes: ["queue:read"], senders: [] });
          const tokensFile = join(directory, "tokens");
          writeFileSync(tokensFile, `${sender.line}\n${reader.line}\n`);
          await using server = await open(store, { tokensFile });
          const send = (token: string, from: string) =>
            fetch(`${server.url}/v1/messages?mail_from=${from}&rcpt_to=b@dest.example`, {
              method: "POST",
              headers: { "content-type": "message/rfc822", authorization: `Bearer ${token}` },
              body: "Subject: x\r\n\r\nx\r\n",
            });
          assert.equal((await send("wrong", "a@src.example")).status, 401);
          assert.equal((await send(reader.token, "a@src.example")).status, 403);
          assert.equal((await send(sender.token, "a@other.example")).status, 403);
          assert.deepEqual(await listed(store), []);
          assert.equal((await send(sender.token, "a@src.example")).status, 202);
          const [message] = await listed(store);
          assert.equal(message?.envelope.client?.saslUsername, "app");
        } finally {
          rmSync(directory, { recursive: true });
        }
      },
      { redis },
    ));

  it("P9: answers 503 with Retry-After above redis_memory_high_water", () =>
    withStore(
      async ({ store, openAnother }) => {
        await redis.cli("config", "set", "maxmemory", "1gb");
        try {
          const full = await openAnother({ memoryHighWater: 0.0001 });
          await using server = await open(full);
          const answer = await submitRaw(server.url, mail);
          assert.equal(answer.status, 503);
          assert.match(answer.headers.get("retry-after") ?? "", /^\d+$/);
          assert.equal(answer.body["code"], "PMQ_STORE_FULL");
          assert.deepEqual(await listed(store), []);
        } finally {
          await redis.cli("config", "set", "maxmemory", "0");
        }
      },
      { redis },
    ));

  it("P4: answers 503 while Redis is away, and 202 when it is back", async () => {
    await using own = await startRedis();
    await withStore(
      async ({ store }) => {
        await using server = await open(store);
        await own.kill9();
        const away = await waitFor(async () => {
          const answer = await submitRaw(server.url, mail);
          return answer.status === 503 && answer;
        });
        assert.ok(away.headers.has("retry-after"));
        await own.restart();
        await waitFor(async () => (await submitRaw(server.url, mail)).status === 202);
      },
      { redis: own },
    );
  });
});
