import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { setTimeout } from "node:timers/promises";

import type { Intake, Store } from "@postmq/queue-store";
import { SmtpClient, startPostmq, startRedis, waitFor, withStore } from "@postmq/testing";
import type { RedisServer } from "@postmq/testing";
import { parseQueueId } from "@postmq/vocabulary";

import { openData } from "./say.test-support.ts";
import { startListener } from "./start-listener.test-support.ts";

const trouble = "451 4.3.0 Error: queue file write error";

/** The stored message that a reply to the dot names. */
async function queuedMessage(store: Store, reply: string) {
  const id = parseQueueId(/^250 2\.0\.0 Ok: queued as (\w+)$/.exec(reply)?.[1] ?? "");
  assert.ok(id !== undefined, reply);
  const message = await store.looking().message(id);
  assert.ok(message !== undefined, `${id} is not stored`);
  return message;
}

async function queued(store: Store): Promise<number> {
  const depths = await store.looking().depths();
  return depths.reduce((sum, { messages }) => sum + messages, 0);
}

const smallMessage = {
  from: "a@example.com",
  to: ["b@example.net"],
  content: "Subject: x\r\n\r\nx\r\n",
};

async function commitEmpty(intake: Intake, queue: "incoming" | "hold"): Promise<void> {
  const id = intake.newId();
  const writer = intake.openContent(id);
  const envelope = { sender: "a@example.com", origin: "smtp" } as const;
  const recipients = [{ address: "b@example.net" }];
  const content = await writer.finish();
  assert.equal(await intake.commit({ id, queue, envelope, recipients, content }), "stored");
}

describe("SMTP intake into Redis", () => {
  let redis: RedisServer;
  before(async () => {
    redis = await startRedis();
  });
  after(async () => {
    await redis[Symbol.asyncDispose]();
  });

  it("stores what it answers 250 for: envelope, recipients, DSN wishes", () =>
    withStore(
      async ({ store }) => {
        await using server = await startListener({ intake: store.intake(), isVerp: true });
        using client = await SmtpClient.open(server.port);
        await client.command(
          "MAIL FROM:<a@example.com> RET=HDRS ENVID=e+2B1 BODY=8BITMIME XVERP=-=",
        );
        await client.command("RCPT TO:<b@example.net> NOTIFY=SUCCESS ORCPT=rfc822;o@example.net");
        await client.command('RCPT TO:<"c d"@example.net>');
        await client.command("DATA");
        const reply = await client.command("Subject: x\r\n\r\nbody\r\n.");
        const { queue, envelope, recipients } = await queuedMessage(store, reply.text);
        assert.equal(queue, "incoming");
        assert.deepEqual(
          {
            sender: envelope.sender,
            ret: envelope.ret,
            envid: envelope.envid,
            encoding: envelope.encoding,
            verpDelimiters: envelope.verpDelimiters,
          },
          {
            sender: "a@example.com",
            ret: "HDRS",
            envid: "e+1",
            encoding: "8bit",
            verpDelimiters: "-=",
          },
        );
        assert.equal(envelope.client?.helo, "client.example.com");
        assert.deepEqual(
          recipients.map(({ address, notify, orcpt }) => ({ address, notify, orcpt })),
          [
            { address: "b@example.net", notify: ["SUCCESS"], orcpt: "rfc822;o@example.net" },
            { address: '"c d"@example.net', notify: undefined, orcpt: undefined },
          ],
        );
      },
      { redis },
    ));

  it("stores 10 000 000 bytes byte for byte", () =>
    withStore(
      async ({ store }) => {
        await using server = await startListener({ intake: store.intake() });
        using client = await SmtpClient.open(server.port);
        const line = Buffer.from(`.${"\u00E9x".repeat(300)}\r\n`, "latin1");
        const body = Buffer.alloc(9_999_900 - (9_999_900 % line.length), line);
        const content = Buffer.concat([Buffer.from("Subject: big\r\n\r\n"), body]);
        const reply = await client.deliver({
          from: "a@example.com",
          to: ["b@example.net"],
          content,
        });
        const id = parseQueueId(reply.text.split(" ").at(-1) ?? "");
        assert.ok(id !== undefined && reply.code === 250, reply.text);
        const chunks = Math.ceil((await queuedMessage(store, reply.text)).sizeBytes / (256 * 1024));
        const parts: Buffer[] = [];
        const sizeBytes = 0;
        for (const contentId of await contentIds(redis, id)) {
          for await (const part of store.looking().readContent({ contentId, chunks, sizeBytes })) {
            parts.push(part);
          }
        }
        const stored = Buffer.concat(parts);
        assert.ok(stored.subarray(stored.indexOf("Subject: big")).equals(content));
      },
      { redis },
    ));

  it("leaves nothing of a large message whose client goes away in DATA (faults.md 1)", () =>
    withStore(
      async ({ store, instanceName }) => {
        await using server = await startListener({ intake: store.intake() });
        const contents = () => redis.cli("KEYS", `*${instanceName}*:c:*`);
        using client = await SmtpClient.open(server.port);
        await openData(client);
        client.send(`Subject: x\r\n\r\n${"x\r\n".repeat(1_000_000)}`);
        await waitFor(async () => (await contents()) !== "");
        client[Symbol.dispose]();
        await waitFor(() => server.lines.some((line) => line.startsWith("disconnect")));
        await waitFor(async () => (await contents()) === "");
        assert.equal(await queued(store), 0);
      },
      { redis },
    ));

  it("answers 451 within a bounded time while Redis hangs, and takes mail again after it (faults.md 19)", () =>
    withStore(
      async ({ store }) => {
        await using server = await startListener({ intake: store.intake(), commitLimitMs: 300 });
        using client = await SmtpClient.open(server.port);
        await openData(client);
        redis.pause();
        try {
          assert.equal((await client.command("Subject: x\r\n\r\n.")).text, trouble);
        } finally {
          redis.resume();
        }
        await waitFor(async () => {
          const mail = await client.command("MAIL FROM:<a@example.com>");
          await client.command("RSET");
          return mail.code === 250;
        });
        await openData(client);
        assert.equal((await client.command("Subject: y\r\n\r\n.")).code, 250);
      },
      { redis },
    ));

  it("refuses mail with 452 while Redis is above redis_memory_high_water (faults.md 17)", () =>
    withStore(
      async ({ store }) => {
        await using server = await startListener({
          intake: store.intake(),
          parameters: { smtpd_hard_error_limit: "10000", smtpd_soft_error_limit: "10000" },
        });
        using client = await SmtpClient.open(server.port);
        const answersTo = async (code: number) => {
          const mail = await client.command("MAIL FROM:<a@example.com>");
          await client.command("RSET");
          return mail.code === code;
        };
        const used = Number(/used_memory:(\d+)/.exec(await redis.cli("INFO", "memory"))?.[1]);
        await redis.cli("CONFIG", "SET", "maxmemory", String(Math.round(used * 1.1)));
        try {
          await waitFor(() => answersTo(452));
        } finally {
          await redis.cli("CONFIG", "SET", "maxmemory", "0");
        }
        await waitFor(() => answersTo(250));
      },
      { redis },
    ));

  it("refuses mail with 451 while Redis is down, and takes it once it is back (faults.md 11)", () =>
    withStore(
      async ({ store }) => {
        await using server = await startListener({
          intake: store.intake(),
          parameters: { smtpd_hard_error_limit: "10000", smtpd_soft_error_limit: "10000" },
        });
        using client = await SmtpClient.open(server.port);
        await openData(client);
        await redis.kill9();
        assert.equal((await client.command("Subject: x\r\n\r\n.")).text, trouble);
        await waitFor(async () => {
          const mail = await client.command("MAIL FROM:<a@example.com>");
          await client.command("RSET");
          return mail.text === trouble;
        });
        await redis.restart();
        await waitFor(async () => {
          const mail = await client.command("MAIL FROM:<a@example.com>");
          await client.command("RSET");
          return mail.code === 250;
        });
        const reply = await client.deliver({
          from: "a@example.com",
          to: ["b@example.net"],
          content: "Subject: y\r\n\r\n",
        });
        await queuedMessage(store, reply.text);
        assert.equal(await queued(store), 1);
      },
      { redis },
    ));

  it("S33 slows many sessions to a message per in_flow_delay each while nothing is imported, refusing none", () =>
    withStore(
      async ({ store }) => {
        const parameters = { in_flow_delay: "1s" };
        await using server = await startListener({ intake: store.intake(), parameters });
        using clients = new DisposableStack();
        const sessions = await Promise.all(
          Array.from({ length: 4 }, () => SmtpClient.open(server.port)),
        );
        for (const client of sessions) clients.use(client);
        const codes: number[] = [];
        const startMs = performance.now();
        await Promise.all(
          sessions.map(async (client) => {
            for (let i = 0; i < 3; i++) codes.push((await client.deliver(smallMessage)).code);
          }),
        );
        const tookMs = performance.now() - startMs;
        assert.deepEqual(
          codes,
          Array.from({ length: 12 }, () => 250),
        );
        // Four tokens let the first messages through; then each session waits with each of two more.
        assert.ok(tookMs >= 1990, `${tookMs} ms`);
        assert.equal(await queued(store), 12);
      },
      { redis, store: { processLimit: 4 } },
    ));

  it("S33 takes no more than the scheduler imports and one message per session and in_flow_delay", () =>
    withStore(
      async ({ store }) => {
        const fence = await store.leadership().acquire();
        assert.ok(fence !== undefined);
        const scheduling = store.scheduling();
        const parameters = { in_flow_delay: "1s" };
        await using server = await startListener({ intake: store.intake(), parameters });
        using clients = new DisposableStack();
        const sessions = await Promise.all(
          Array.from({ length: 8 }, () => SmtpClient.open(server.port)),
        );
        for (const client of sessions) clients.use(client);
        const startMs = performance.now();
        const elapsedMs = () => performance.now() - startMs;
        let taken = 0;
        let imported = 0;
        const isOver = () => elapsedMs() > 2500 && imported > 40;
        const deliver = async (client: SmtpClient) => {
          while (!isOver()) {
            assert.equal((await client.deliver(smallMessage)).code, 250);
            taken += 1;
          }
        };
        const wanted = { fence, from: "incoming", maxMessages: 2, maxRecipients: 9 } as const;
        const schedule = async () => {
          // Never to the end of incoming, which would give all tokens back.
          for (; !isOver(); await setTimeout(50)) {
            if (taken - imported > 2) imported += (await scheduling.importMessages(wanted)).length;
          }
        };
        await Promise.all([schedule(), ...sessions.map(deliver)]);
        const late = sessions.length * Math.ceil(elapsedMs() / 1000);
        const text = `${taken} taken, ${imported} imported, at most ${late} late ones`;
        assert.ok(taken <= 4 + imported + late, text);
        assert.ok(taken >= imported, text);
      },
      { redis, store: { processLimit: 4 } },
    ));

  it("S33 goes on as soon as the scheduler has imported what was there", () =>
    withStore(
      async ({ store }) => {
        const intake = store.intake();
        await using server = await startListener({ intake, parameters: { in_flow_delay: "10s" } });
        using client = await SmtpClient.open(server.port);
        assert.equal((await client.deliver(smallMessage)).code, 250);
        assert.equal((await client.deliver(smallMessage)).code, 250);
        assert.equal(intake.flowIsDry(), true);
        const fence = await store.leadership().acquire();
        assert.ok(fence !== undefined);
        const startMs = performance.now();
        const third = client.deliver(smallMessage);
        const wanted = { fence, from: "incoming", maxMessages: 100, maxRecipients: 100 } as const;
        assert.equal((await store.scheduling().importMessages(wanted)).length, 2);
        assert.equal((await third).code, 250);
        assert.equal(intake.flowIsDry(), false);
        assert.ok(performance.now() - startMs < 9000);
      },
      { redis, store: { processLimit: 2 } },
    ));

  it("S34 takes no token for mail that goes to hold", () =>
    withStore(
      async ({ store }) => {
        const intake = store.intake();
        for (let i = 0; i < 5; i++) await commitEmpty(intake, "hold");
        assert.equal(intake.flowIsDry(), false);
        await commitEmpty(intake, "incoming");
        assert.equal(intake.flowIsDry(), false);
        await commitEmpty(intake, "incoming");
        assert.equal(intake.flowIsDry(), true);
      },
      { redis, store: { processLimit: 2 } },
    ));
});

/** Content is stored under an id that begins with its message's. */
async function contentIds(redis: RedisServer, id: string): Promise<readonly string[]> {
  const keys = (await redis.cli("KEYS", `*:c:${id}*`)).split("\n").filter((key) => key !== "");
  return keys.map((key) => key.slice(key.lastIndexOf(":") + 1));
}

describe("the smtpd process", () => {
  it("ends with 0 at SIGTERM, after the message on its way is answered", async () => {
    await using system = await startPostmq({ services: ["smtpd"] });
    using idle = await SmtpClient.open(system.smtpPort);
    using busy = await SmtpClient.open(system.smtpPort);
    await openData(busy);
    busy.send("Subject: x\r\n\r\nhalf");
    const exit = system.service("smtpd").terminate();
    const farewell =
      "421 4.3.2 mail.example.com Service shutting down, closing transmission channel";
    assert.deepEqual(await idle.repliesToTheEnd(), [farewell]);
    idle[Symbol.dispose]();
    busy.send(" and half\r\n.\r\n");
    const replies = await busy.repliesToTheEnd();
    assert.match(replies[0] ?? "", /^250 2\.0\.0 Ok: queued as/);
    busy[Symbol.dispose]();
    assert.equal((await exit).code, 0);
  });

  it("leaves nothing of a message in DATA when it is killed (faults.md 1)", async () => {
    await using system = await startPostmq({ services: ["smtpd"] });
    using client = await SmtpClient.open(system.smtpPort);
    await openData(client);
    client.send("Subject: x\r\n\r\nhalf");
    await system.service("smtpd").kill9();
    await assert.rejects(client.reply());
    assert.equal(await system.redis.cli("KEYS", "*:m:*"), "");
    await system.restart("smtpd");
    using again = await SmtpClient.open(system.smtpPort);
    await openData(again);
    assert.equal((await again.command("Subject: x\r\n\r\nwhole\r\n.")).code, 250);
  });

  it("relays for nobody but mynetworks, and takes XVERP from nobody by default (D33)", async () => {
    await using system = await startPostmq({
      services: ["smtpd"],
      parameters: { mynetworks: "192.0.2.0/24" },
    });
    using client = await SmtpClient.open(system.smtpPort);
    const unknown = await client.command("MAIL FROM:<a@example.com> XVERP");
    assert.equal(unknown.text, "555 5.5.4 Unsupported option: XVERP");
    await client.command("MAIL FROM:<a@example.com>");
    const reply = await client.command("RCPT TO:<b@example.net>");
    assert.equal(reply.text, "454 4.7.1 <b@example.net>: Relay access denied");
  });
});
