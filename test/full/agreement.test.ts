/** P12: at a quiet moment every tool tells the same of the queues, and it is what the records say. */
import assert from "node:assert/strict";
import { after, describe, it } from "node:test";

import {
  FakeSmtpServer,
  findBrokenInvariants,
  sendMail,
  startPostmq,
  testMail,
  waitFor,
} from "@postmq/testing";
import type { PostmqSystem, RedisServer } from "@postmq/testing";

import { makeAdmin } from "../support/admin-token.ts";

const queues = ["maildrop", "incoming", "active", "deferred", "hold", "corrupt"] as const;
type QueueName = (typeof queues)[number];
type PerQueue<T> = Readonly<Record<QueueName, T>>;

async function perQueue<T>(read: (queue: QueueName) => Promise<T> | T): Promise<PerQueue<T>> {
  const entries: (readonly [QueueName, T])[] = [];
  for (const queue of queues) entries.push([queue, await read(queue)]);
  return Object.fromEntries(entries) as PerQueue<T>;
}

/** What a tool tells of a queue. */
type Told = {
  readonly messages: number;
  /** Recipients that are not done, by domain. */
  readonly domains: Readonly<Record<string, number>>;
  /** Messages that have such, by sender domain. */
  readonly senders: Readonly<Record<string, number>>;
};

function tally(words: readonly string[]): Readonly<Record<string, number>> {
  const counts: Record<string, number> = {};
  for (const word of words.toSorted()) counts[word] = (counts[word] ?? 0) + 1;
  return counts;
}

const domainOf = (address: string) => address.slice(address.lastIndexOf("@") + 1);

function toldBy(
  messages: readonly { readonly sender: string; readonly recipients: readonly string[] }[],
): Told {
  return {
    messages: messages.length,
    domains: tally(messages.flatMap(({ recipients }) => recipients.map(domainOf))),
    senders: tally(messages.map(({ sender }) => domainOf(sender))),
  };
}

/** The records themselves, one by one. */
async function byRecords(redis: RedisServer): Promise<PerQueue<Told>> {
  const keys = (await redis.cli("--scan", "--pattern", "postmq:{default}:m:*")).split("\n");
  const records = await Promise.all(
    keys.map(async (key) => {
      const flat = (await redis.cli("HGETALL", key)).split("\n");
      // Recipients and states are several lines: only what stands on one is asked for by itself.
      const [queue = "", envelope = "{}", total = "0"] = await Promise.all(
        ["q", "e", "n"].map((field) => redis.cli("HGET", key, field)),
      );
      assert.ok(flat.length > 10);
      const recipients: string[] = [];
      for (let number = 0; number < Number(total); number += 1) {
        const state = await redis.cli("HGET", key, `s${number}`);
        if (/^[dsf]/.test(state)) continue;
        recipients.push((await redis.cli("HGET", key, String(number))).split("\n")[0] ?? "");
      }
      const { sender } = JSON.parse(envelope) as { readonly sender: string };
      return { queue, sender, recipients };
    }),
  );
  return await perQueue((queue) => toldBy(records.filter((record) => record.queue === queue)));
}

async function byPostqueue(system: PostmqSystem): Promise<PerQueue<Told>> {
  const { stdout } = await system.command("postqueue", ["-j"]);
  const messages = stdout
    .split("\n")
    .filter((line) => line !== "")
    .map(
      (line) =>
        JSON.parse(line) as {
          readonly queue_name: string;
          readonly sender: string;
          readonly recipients: readonly { readonly address: string }[];
        },
    )
    .map(({ queue_name: queue, sender, recipients }) => ({
      queue,
      sender,
      recipients: recipients.map(({ address }) => address),
    }));
  return await perQueue((queue) => toldBy(messages.filter((message) => message.queue === queue)));
}

function table(text: string): Readonly<Record<string, number>> {
  const rows = [...text.matchAll(/^ *(\S+) +(\d+) /gm)].filter(([, domain]) => domain !== "T");
  return Object.fromEntries(rows.map(([, domain = "", count]) => [domain, Number(count)]));
}

function withoutTotal(counts: Readonly<Record<string, number>>) {
  const { TOTAL: total = 0, ...domains } = counts;
  const sum = Object.values(domains).reduce((all, count) => all + count, 0);
  assert.equal(total, sum);
  return Object.fromEntries(Object.entries(domains).toSorted(([a], [b]) => (a < b ? -1 : 1)));
}

async function json(system: PostmqSystem, path: string): Promise<Record<string, unknown>> {
  const response = await fetch(`${system.adminUrl}/v1/${path}`, { headers: admin.headers });
  assert.equal(response.status, 200, path);
  return (await response.json()) as Record<string, unknown>;
}

async function byHttp(system: PostmqSystem): Promise<PerQueue<Omit<Told, "senders">>> {
  return await perQueue(async (queue) => {
    const messages: { readonly recipients: readonly { readonly address: string }[] }[] = [];
    for (let cursor = ""; ;) {
      const page = await json(system, `messages?queue=${queue}&limit=3${cursor}`);
      messages.push(...(page["messages"] as typeof messages));
      if (typeof page["cursor"] !== "string") break;
      cursor = `&cursor=${encodeURIComponent(page["cursor"])}`;
    }
    const recipients = messages.flatMap((message) =>
      message.recipients.map(({ address }) => domainOf(address)),
    );
    return { messages: messages.length, domains: tally(recipients) };
  });
}

async function qshapeByHttp(system: PostmqSystem, queue: QueueName, by: string) {
  const { rows } = await json(system, `qshape?queue=${queue}&by=${by}`);
  const counts = (rows as readonly { readonly domain: string; readonly total: number }[]).map(
    ({ domain, total }) => [domain, total] as const,
  );
  return Object.fromEntries(counts.toSorted(([a], [b]) => (a < b ? -1 : 1)));
}

async function metric(system: PostmqSystem, queue: QueueName): Promise<number> {
  const text = await (await fetch(`${system.metricsUrl("showq")}/metrics`)).text();
  const line = new RegExp(`^postmq_queue_messages\\{[^}]*queue="${queue}"[^}]*\\} (\\d+)$`, "m");
  return Number(line.exec(text)?.[1]);
}

/** @returns how many messages are in each queue, on which all agree */
async function assertAgreement(system: PostmqSystem): Promise<PerQueue<number>> {
  const records = await byRecords(system.redis);
  const counts = await perQueue((queue) => records[queue].messages);
  // Listings leave corrupt out, as Postfix's do.
  const listed = { ...records, corrupt: { messages: 0, domains: {}, senders: {} } };
  assert.deepEqual(await byPostqueue(system), listed, "postqueue -j");
  const total = Object.values(listed).reduce((sum, { messages }) => sum + messages, 0);
  const mailq = (await system.command("mailq")).stdout;
  assert.match(mailq, new RegExp(`^-- \\d+ Kbytes in ${total} Requests\\.\\n$`, "m"));
  assert.equal([...mailq.matchAll(/^\w{17}[*! #]/gm)].length, total, "mailq");
  for (const queue of queues) {
    const { domains, senders } = records[queue];
    const shape = await system.command("qshape", ["-b", "1", queue]);
    assert.deepEqual(withoutTotal(table(shape.stdout)), domains, `qshape ${queue}`);
    const bySender = await system.command("qshape", ["-s", "-b", "1", queue]);
    assert.deepEqual(withoutTotal(table(bySender.stdout)), senders, `qshape -s ${queue}`);
    assert.deepEqual(await qshapeByHttp(system, queue, "recipient"), domains);
    assert.deepEqual(await qshapeByHttp(system, queue, "sender"), senders);
  }
  const http = await byHttp(system);
  for (const queue of queues) {
    const { messages, domains } = records[queue];
    assert.deepEqual(http[queue], { messages, domains }, `GET /v1/messages?queue=${queue}`);
  }
  const { queues: depths } = await json(system, "queues");
  const told = depths as readonly { readonly queue: string; readonly messages: number }[];
  assert.deepEqual(
    Object.fromEntries(told.map(({ queue, messages }) => [queue, messages])),
    counts,
    "GET /v1/queues",
  );
  // A scrape may show what was read up to a second before.
  await waitFor(
    async () => {
      const scraped = await perQueue((queue) => metric(system, queue));
      return JSON.stringify(scraped) === JSON.stringify(counts);
    },
    { describe: `postmq_queue_messages to be ${JSON.stringify(counts)}` },
  );
  const open = Object.values(records.active.domains).reduce((sum, count) => sum + count, 0);
  // The leader tells of its destinations once a second.
  await waitFor(
    async () => {
      const { destinations } = await json(system, "destinations");
      const each = destinations as readonly { readonly in_flight: number }[];
      return each.reduce((sum, { in_flight: inFlight }) => sum + inFlight, 0) === open;
    },
    { describe: `${open} deliveries in GET /v1/destinations` },
  );
  const checked = await system.command("postmq", ["check"]);
  assert.equal(checked.code, 0, checked.stdout);
  assert.deepEqual(await findBrokenInvariants(system.redis), []);
  return counts;
}

async function send(system: PostmqSystem, from: string, to: readonly string[]): Promise<string> {
  const reply = await sendMail(system.smtpPort, testMail({ from, to }));
  assert.equal(reply.code, 250, reply.text);
  return /queued as (\w+)/.exec(reply.text)?.[1] ?? "";
}

async function depth(redis: RedisServer, queue: QueueName): Promise<number> {
  return Number(await redis.cli("ZCARD", `postmq:{default}:q:${queue}`));
}

const activeLimit = 5;
const admin = await makeAdmin();
after(() => admin[Symbol.asyncDispose]());

describe("P12", () => {
  it("mailq, postqueue, qshape, HTTP, metrics and check agree with the records, before operators act and after", async (context) => {
    await using sink = await FakeSmtpServer.start({
      decide: ({ stage, recipient }) => {
        if (stage !== "rcpt") return undefined;
        if (recipient.includes("hangs")) return { delayMs: 3_600_000 };
        if (recipient.startsWith("good")) return undefined;
        return { reply: "451 4.3.0 later" };
      },
    });
    await using system = await startPostmq({
      // No cleanup: what is handed in by sendmail stays in maildrop.
      services: ["pickup", "smtpd", "qmgr", "smtp-delivery", "bounce", "showq"],
      parametersOf: (name) => (name === "showq" ? { api_tokens: admin.file } : undefined),
      parameters: {
        relayhost: sink.relayhost,
        minimal_backoff_time: "1h",
        maximal_backoff_time: "2h",
        qmgr_message_active_limit: String(activeLimit),
        qmgr_message_recipient_limit: String(activeLimit),
        default_destination_recipient_limit: "1",
        smtp_rcpt_timeout: "1h",
      },
    });
    const { redis } = system;
    const deferred: string[] = [];
    for (let i = 0; i < 12; i += 1) {
      const to = [`a@d${i % 3}.example`, `good@d${i % 3}.example`, "b@other.example"];
      deferred.push(await send(system, `s${i}@from${i % 2}.example`, to.slice(i % 2)));
      await waitFor(async () => (await depth(redis, "deferred")) === i + 1, {
        describe: () => `${i + 1} in deferred\n${system.lastLines()}`,
      });
    }
    for (let i = 0; i < activeLimit + 4; i += 1) {
      await send(system, `h${i}@from.example`, [`u${i}@hangs.example`]);
    }
    await system.command("sendmail", ["-f", "l@local.example", "x@d0.example", "y@d1.example"], {
      input: "Subject: x\n\nx\n",
    });
    const [held = "", gone = "", broken = "", again = ""] = deferred;
    assert.equal((await system.command("postsuper", ["-h", held])).code, 0);
    const content = `postmq:{default}:c:${broken}`;
    await redis.cli("RENAME", content, "elsewhere");
    assert.equal((await system.command("postmq", ["check", "--repair"])).code, 0);
    await redis.cli("RENAME", "elsewhere", content);
    await waitFor(
      async () =>
        (await depth(redis, "active")) === activeLimit && (await depth(redis, "maildrop")) === 1,
      { describe: () => `active to be full\n${system.lastLines()}` },
    );
    const before = await assertAgreement(system);
    context.diagnostic(JSON.stringify(before));
    assert.ok(
      Object.values(before).every((messages) => messages > 0),
      "a queue is empty",
    );

    assert.equal((await system.command("postsuper", ["-d", gone])).code, 0);
    assert.equal((await system.command("postsuper", ["-r", again])).code, 0);
    assert.equal((await system.command("postsuper", ["-h", "ALL", "incoming"])).code, 0);
    const response = await fetch(`${system.adminUrl}/v1/operations`, {
      method: "POST",
      headers: { "content-type": "application/json", ...admin.headers },
      body: JSON.stringify({
        action: "hold",
        select: { queue: "deferred", sender_domain: "from1.example" },
        reason: "a test",
      }),
    });
    assert.equal(response.status, 202, await response.text());
    const where = response.headers.get("location") ?? "";
    await waitFor(
      async () => {
        const body = (await (
          await fetch(new URL(where, system.adminUrl), { headers: admin.headers })
        ).json()) as {
          readonly state: string;
        };
        return body.state === "done";
      },
      { describe: "the operation to be done" },
    );
    const after = await assertAgreement(system);
    context.diagnostic(JSON.stringify(after));
    assert.equal(after.maildrop, before.maildrop + 1);
    assert.equal(after.incoming, 0);
    assert.ok(after.hold > before.hold + before.incoming);
  });
});
