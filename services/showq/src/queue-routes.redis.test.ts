import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";

import { createMetrics } from "@postmq/observability";
import { postqueueJsonLine } from "@postmq/queue-admin";
import type { Intake, Store } from "@postmq/queue-store";
import { makeToken, openHttpServer } from "@postmq/service-kit";
import { startRedis, waitFor, withStore } from "@postmq/testing";
import type { RedisServer } from "@postmq/testing";
import { parseQueueId } from "@postmq/vocabulary";
import type { QueueId } from "@postmq/vocabulary";

import { destinationRoutes } from "./destination-routes.ts";
import { explainRoute } from "./explain-route.ts";
import { LongReads } from "./long-reads.ts";
import { rules } from "./looking-on.test-support.ts";
import { openOperator, post } from "./operating.test-support.ts";
import { declareQueueMetrics } from "./queue-metrics.ts";
import { rawRoute } from "./raw-route.ts";
import { queueRoutes } from "./queue-routes.ts";
import { timelineRoute } from "./timeline-route.ts";
import { workerRoutes } from "./worker-routes.ts";

const quiet = { info: () => undefined, warning: () => undefined, error: () => undefined };

async function open(store: Store, tokensFile = "") {
  const looking = store.looking();
  const longReads = new LongReads();
  const server = await openHttpServer({
    listen: "127.0.0.1:0",
    listenParameter: "showq_listen",
    tokensFile,
    log: quiet,
    bodyLimitBytes: 1024,
    routes: (app, needs) => {
      queueRoutes(app, needs, {
        store,
        looking,
        selecting: store.selecting(),
        longReads,
        emptyAddress: "MAILER-DAEMON",
      });
      explainRoute(app, needs, { store, looking, rules, deferTransports: [] });
      destinationRoutes(app, needs, { store, looking, transports: ["smtp"] });
      rawRoute(app, needs, { store, looking });
      timelineRoute(app, needs, { store, looking, longReads, timelines: store.timelines() });
      workerRoutes(app, needs, { store, looking, copying: store.copying() });
    },
  });
  const url = `http://${server.address}/v1`;
  return { url, looking, [Symbol.asyncDispose]: () => server.close() };
}

async function queued(
  intake: Intake,
  queue: "maildrop" | "hold",
  sender: string,
  ...recipients: readonly string[]
): Promise<QueueId> {
  const id = intake.newId();
  const writer = intake.openContent(id);
  await writer.write(Buffer.from("Subject: x\r\n\r\nx\r\n"));
  await intake.commit({
    id,
    queue,
    envelope: { sender, origin: "smtp", verpDelimiters: "+=" },
    recipients: recipients.map((address) => ({ address })),
    content: await writer.finish(),
  });
  return id;
}

type Answer = { readonly status: number; readonly body: Readonly<Record<string, unknown>> };

async function get(url: string, token?: string): Promise<Answer> {
  const headers = token === undefined ? {} : { authorization: `Bearer ${token}` };
  const response = await fetch(url, { headers });
  const body: unknown = await response.json();
  assert.ok(typeof body === "object" && body !== null);
  return { status: response.status, body: { ...body } };
}

/** The ids in a page. */
function ids({ body }: Answer): readonly unknown[] {
  const { messages } = body;
  assert.ok(Array.isArray(messages));
  return messages.map((entry: Readonly<Record<string, unknown>>) => entry["queue_id"]);
}

describe("showq", () => {
  let redis: RedisServer;
  before(async () => {
    redis = await startRedis();
  });
  after(() => redis[Symbol.asyncDispose]());

  const withShowq = (
    test: (store: Store, showq: Awaited<ReturnType<typeof open>>) => Promise<void>,
  ) =>
    withStore(
      async ({ store }) => {
        await using showq = await open(store);
        await test(store, showq);
      },
      { redis, store: { timelines: { mostBytes: 1_000_000, retentionMs: 60_000 } } },
    );

  it("lists page by page, queue by queue, every message once", () =>
    withShowq(async (store, { url }) => {
      const intake = store.intake();
      const expected: QueueId[] = [];
      for (let n = 0; n < 5; n += 1)
        expected.push(await queued(intake, "maildrop", "a@b.example", "c@d.example"));
      for (let n = 0; n < 4; n += 1) expected.push(await queued(intake, "hold", "", "e@f.example"));
      const seen: unknown[] = [];
      for (let more = ""; more !== "end";) {
        const page = await get(`${url}/messages?limit=2${more}`);
        assert.equal(page.status, 200);
        assert.ok(ids(page).length <= 2);
        seen.push(...ids(page));
        const { cursor } = page.body;
        more = typeof cursor === "string" ? `&cursor=${encodeURIComponent(cursor)}` : "end";
      }
      assert.deepEqual(seen, expected);
      assert.deepEqual(ids(await get(`${url}/messages?queue=hold`)), expected.slice(5));
      assert.deepEqual(ids(await get(`${url}/messages?queue=deferred`)), []);
    }));

  it("streams the lines of postqueue -j as application/x-ndjson", () =>
    withShowq(async (store, { url, looking }) => {
      const intake = store.intake();
      await queued(intake, "maildrop", "", "a@b.example", "c@d.example");
      await queued(intake, "hold", "x@y.example", "e@f.example");
      const response = await fetch(`${url}/messages`, {
        headers: { accept: "application/x-ndjson" },
      });
      assert.equal(response.headers.get("content-type"), "application/x-ndjson");
      const lists = [
        await looking.list("maildrop", { limit: 9 }),
        await looking.list("hold", { limit: 9 }),
      ];
      const lines = lists.flatMap(({ messages }) =>
        messages.map((m) => postqueueJsonLine(m, "MAILER-DAEMON")),
      );
      assert.equal(lines.length, 2);
      assert.equal(await response.text(), lines.join(""));
    }));

  it("shows one message with its recipients, and 404 for an unknown or malformed id", () =>
    withShowq(async (store, { url }) => {
      const id = await queued(store.intake(), "hold", "x@y.example", "e@f.example");
      const { status, body } = await get(`${url}/messages/${id}`);
      assert.equal(status, 200);
      assert.equal(body["queue_name"], "hold");
      assert.equal(body["verp"], "+=");
      assert.deepEqual(body["recipients"], [{ address: "e@f.example", state: "todo" }]);
      assert.equal((await get(`${url}/messages/nosuch`)).status, 404);
      assert.equal((await get(`${url}/messages/..%2Fx`)).status, 404);
    }));

  it("finds messages by any part of a selection, as pages and as lines", () =>
    withShowq(async (store, { url }) => {
      const intake = store.intake();
      const wanted = await queued(intake, "hold", "Spam@x.example", "a@b.example", "c@D.example");
      await queued(intake, "hold", "ham@x.example", "e@f.example");
      await queued(intake, "maildrop", "", "e@f.example");
      const found = [
        "sender=Spam@X.example",
        "domain=d.example",
        "recipient=c@d.example",
        "queue=hold&sender_contains=!HAM",
        "sender_domain=x.example&size=1..1K&attempts=0&newer_than=1h&domain=b.example",
        `id=${wanted}`,
      ];
      for (const query of found) {
        const page = await get(`${url}/messages?${query}`);
        assert.deepEqual(ids(page), [wanted], query);
        const headers = { accept: "application/x-ndjson" };
        const lines = await (await fetch(`${url}/messages?${query}`, { headers })).text();
        assert.match(lines, new RegExp(`^\\{.*"queue_id": "${wanted}".*\\}\n$`), query);
      }
      assert.equal(ids(await get(`${url}/messages?sender=${encodeURIComponent("<>")}`)).length, 1);
      assert.deepEqual(ids(await get(`${url}/messages?older_than=1h`)), []);
      assert.deepEqual(ids(await get(`${url}/messages?reason~=refused`)), []);
    }));

  it("tells what happened to a message, after it has left too", () =>
    withShowq(async (store, { url }) => {
      const id = await queued(store.intake(), "hold", "x@y.example", "e@f.example");
      await store.acting().act("delete", [id]);
      const { status, body } = await get(`${url}/messages/${id}/events`);
      assert.equal(status, 200);
      const { events } = body;
      assert.ok(Array.isArray(events));
      const kinds = events.map((event: Readonly<Record<string, unknown>>) => event["kind"]);
      assert.deepEqual([kinds.at(0), kinds.at(-1)], ["accepted", "removed"]);
      assert.equal((await get(`${url}/messages/nosuch/events`)).status, 404);
      assert.equal((await get(`${url}/messages/${id}/events?x=1`)).status, 422);
    }));

  it("reads no events for an id that tells no time, unless such a message is queued", () =>
    withShowq(async (store, { url }) => {
      const readings = async () =>
        /cmdstat_xrange:calls=(\d+)/.exec(await redis.cli("INFO", "commandstats"))?.[1] ?? "0";
      const before_ = await readings();
      assert.equal((await get(`${url}/messages/4B6C7D8E/events`)).status, 404);
      assert.equal(await readings(), before_);
      const intake = store.intake();
      const foreign = parseQueueId("4B6C7D8E") ?? assert.fail();
      const content = await intake.openContent(foreign).finish();
      const envelope = { sender: "x@y.example", origin: "smtp" } as const;
      const recipients = [{ address: "a@b.example" }];
      await intake.commit({ id: foreign, queue: "hold", envelope, recipients, content });
      const { status, body } = await get(`${url}/messages/4B6C7D8E/events`);
      assert.deepEqual([status, Array.isArray(body["events"]) && body["events"].length], [200, 1]);
    }));

  it("tells of workers, those that died too, and of queues moved aside", () =>
    withShowq(async (store, { url }) => {
      const { worker } = await store.delivering({ concurrency: 7 });
      await waitFor(async () => (await store.looking().workers()).length === 1);
      assert.deepEqual((await get(`${url}/workers`)).body, {
        workers: [{ name: worker, concurrency: 7, alive: true }],
      });
      const prefix = `postmq:{${store.instanceName}}`;
      await redis.cli("HSET", `${prefix}:workers`, "dead.1", "3");
      await redis.cli("HSET", `${prefix}:gone`, "dead.1", "1795289730123");
      const { workers } = (await get(`${url}/workers`)).body;
      assert.ok(Array.isArray(workers));
      assert.deepEqual(workers[0], {
        name: "dead.1",
        concurrency: 3,
        alive: false,
        gone_since: 1_795_289_730,
      });
      await store.copying().rememberAside("old");
      const { body } = await get(`${url}/instances`);
      assert.deepEqual(body, { name: store.instanceName, asides: [{ name: "old" }] });
    }));

  it("P12: qshape, depths and metrics agree with the listing", () =>
    withShowq(async (store, { url, looking }) => {
      const intake = store.intake();
      await queued(
        intake,
        "hold",
        "x@y.example",
        "a@one.example",
        "b@one.example",
        "c@two.example",
      );
      const qshape = await get(`${url}/qshape?queue=hold&buckets=2`);
      assert.deepEqual(qshape.body["rows"], [
        { domain: "one.example", total: 2, counts: [2, 0] },
        { domain: "two.example", total: 1, counts: [1, 0] },
      ]);
      assert.equal(qshape.body["total"], 3);
      assert.deepEqual((await get(`${url}/qshape?queue=hold&by=sender&buckets=1`)).body["rows"], [
        { domain: "y.example", total: 1, counts: [1] },
      ]);
      const { queues } = (await get(`${url}/queues`)).body;
      assert.ok(Array.isArray(queues));
      const hold: unknown = queues.find(
        (each: { readonly queue: string }) => each.queue === "hold",
      );
      assert.ok(typeof hold === "object" && hold !== null && "messages" in hold);
      assert.equal(hold.messages, 1);
      const metrics = createMetrics("showq");
      declareQueueMetrics(metrics, store, looking);
      const text = await metrics.text();
      const labels = `instance_name="${store.instanceName}",service="showq"`;
      assert.ok(text.includes(`postmq_queue_messages{queue="hold",${labels}} 1\n`), text);
      assert.ok(text.includes(`postmq_queue_messages{queue="deferred",${labels}} 0\n`));
      assert.match(text, /postmq_queue_oldest_age_seconds\{queue="hold",[^}]*\} \d/);
      assert.ok(text.includes(`postmq_queue_oldest_age_seconds{queue="active",${labels}} 0\n`));
    }));

  it("refuses with 422 what it does not know", () =>
    withShowq(async (_store, { url }) => {
      const queries = [
        "messages?tenant=x",
        "messages?limit=0",
        "messages?cursor=x",
        "qshape?x=1",
        "queues?x=1",
        "messages/4cXyZ0abc1zz?x=1",
      ];
      for (const path of [...queries, "messages?queue=hold&cursor=active"]) {
        assert.equal((await get(`${url}/${path}`)).status, 422, path);
      }
      const headers = { accept: "application/x-ndjson" };
      assert.equal((await fetch(`${url}/messages?limit=1`, { headers })).status, 422);
    }));

  it("P11: wants a token with the scope queue:read", () =>
    withStore(
      async ({ store }) => {
        const directory = mkdtempSync(join(tmpdir(), "postmq-tokens-"));
        try {
          const reader = await makeToken({ name: "eye", scopes: ["queue:read"], senders: [] });
          const sender = await makeToken({ name: "app", scopes: ["messages:send"], senders: [] });
          const file = join(directory, "tokens");
          writeFileSync(file, `${reader.line}\n${sender.line}\n`);
          await using showq = await open(store, file);
          for (const path of [
            "messages",
            "messages/x",
            "messages/x/explain",
            "messages/x/events",
            "workers",
            "instances",
            "qshape",
            "queues",
            "destinations",
            "destinations/x",
          ]) {
            assert.equal((await get(`${showq.url}/${path}`)).status, 401, path);
            assert.equal((await get(`${showq.url}/${path}`, sender.token)).status, 403, path);
          }
          assert.equal((await get(`${showq.url}/queues`, reader.token)).status, 200);
          const content = `${showq.url}/messages/x/raw`;
          assert.equal((await get(content, reader.token)).status, 403, "needs messages:read");
        } finally {
          rmSync(directory, { recursive: true });
        }
      },
      { redis },
    ));

  it("security 18: has four long readings under way at once, and four streams besides, and 429 for more", async () => {
    await using own = await startRedis();
    await withStore(
      async ({ store }) => {
        const id = await queued(store.intake(), "hold", "x@y.example", "e@f.example");
        await using showq = await open(store);
        const lines = { headers: { accept: "application/x-ndjson" } };
        assert.equal((await fetch(`${showq.url}/messages`, lines)).status, 200);
        own.pause();
        const answers = [
          fetch(`${showq.url}/messages`, lines),
          fetch(`${showq.url}/messages?sender=x@y.example`),
          fetch(`${showq.url}/messages/${id}/events`),
          fetch(`${showq.url}/qshape`),
          fetch(`${showq.url}/qshape`),
          fetch(`${showq.url}/qshape`),
        ];
        const first = await Promise.race(answers);
        assert.deepEqual([first.status, first.headers.get("retry-after")], [429, "1"]);
        own.resume();
        const statuses = (await Promise.all(answers)).map(({ status }) => status);
        assert.deepEqual(statuses.toSorted(), [200, 200, 200, 200, 200, 429]);
      },
      { redis: own },
    );
  });

  it("security 18: gives the place of a listing back when its client has gone", async () => {
    await using own = await startRedis();
    await withStore(
      async ({ store }) => {
        await using showq = await open(store);
        own.pause();
        const gone = new AbortController();
        const { signal } = gone;
        const listings = [0, 1, 2, 3, 4].map(() =>
          fetch(`${showq.url}/messages`, { headers: { accept: "application/x-ndjson" }, signal }),
        );
        assert.equal((await Promise.race(listings)).status, 429, "four hold all places");
        gone.abort();
        await Promise.allSettled(listings);
        own.resume();
        await waitFor(async () => (await get(`${showq.url}/qshape`)).status === 200);
      },
      { redis: own },
    );
  });

  it("answers HEAD with 405: nothing is read for headers alone", () =>
    withShowq(async (_store, { url }) => {
      const headers = { accept: "application/x-ndjson" };
      for (const path of ["messages", "messages/4cXyZ0abc1zz/raw", "qshape"]) {
        const answer = await fetch(`${url}/${path}`, { method: "HEAD", headers });
        assert.deepEqual([answer.status, answer.headers.get("allow")], [405, "GET"], path);
      }
    }));

  it("answers 503 and exports no figures while Redis is away", async () => {
    await using own = await startRedis();
    await withStore(
      async ({ store }) => {
        await using showq = await open(store);
        await using operator = await openOperator(store);
        operator.runner.start();
        const metrics = createMetrics("showq");
        declareQueueMetrics(metrics, store, showq.looking);
        await own.kill9();
        await waitFor(() => !store.health().isReachable);
        assert.equal((await get(`${showq.url}/queues`)).status, 503);
        assert.equal((await get(`${showq.url}/messages`)).status, 503);
        const body = { action: "delete", select: { queue: "hold" }, reason: "x" };
        assert.equal((await post(`${operator.url}/operations`, body)).status, 503);
        for (const path of ["operations", "operations/x", "audit"]) {
          assert.equal((await get(`${operator.url}/${path}`)).status, 503, path);
        }
        assert.doesNotMatch(await metrics.text(), /postmq_queue_messages\{/);
      },
      { redis: own },
    );
  });
});
