import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";

import type { Store } from "@postmq/queue-store";
import { startRedis, withStore } from "@postmq/testing";
import type { RedisServer } from "@postmq/testing";
import { enhancedStatus } from "@postmq/vocabulary";

import { destination, get, openLeader, openShowq } from "./looking-on.test-support.ts";
import type { Answer } from "./looking-on.test-support.ts";

type Listed = Readonly<Record<string, unknown>>;

function listed({ status, body }: Answer): readonly Listed[] {
  assert.equal(status, 200);
  const { destinations } = body;
  assert.ok(Array.isArray(destinations));
  return destinations.map((each: Listed) => each);
}

const names = (answer: Answer) => listed(answer).map(({ name }) => name);

function deadUntil(untilMs: number) {
  const status = enhancedStatus("4.4.1");
  return { dead: { sinceMs: 1_000_000, untilMs, status, reason: "Connection refused" }, window: 0 };
}

describe("GET /v1/destinations", () => {
  let redis: RedisServer;
  before(async () => {
    redis = await startRedis();
  });
  after(() => redis[Symbol.asyncDispose]());

  const withShowq = (test: (store: Store, url: string) => Promise<void>) =>
    withStore(
      async ({ store }) => {
        await using showq = await openShowq(store);
        await test(store, `${showq.url}/destinations`);
      },
      { redis },
    );

  it("has none while nobody leads", () =>
    withShowq(async (_store, url) => {
      assert.deepEqual(listed(await get(url)), []);
      assert.equal((await get(`${url}/far.example`)).status, 404);
    }));

  it("shows window, limit, load, rate, and how long what waits will take", () =>
    withShowq(async (store, url) => {
      const { publish } = await openLeader(store);
      const load = { inFlight: 4, waiting: 26, surplus: 3, endedPerMinute: 60 };
      await publish([destination("far.example", load)]);
      const [shown] = listed(await get(`${url}/smtp:Far.Example`));
      assert.partialDeepStrictEqual(shown, {
        name: "smtp:far.example",
        transport: "smtp",
        nexthop: "far.example",
        window: 5,
        limit: 20,
        in_flight: 4,
        waiting: 26,
        surplus: 3,
        dead: false,
        rate_per_minute: 60,
        eta_seconds: 30,
      });
    }));

  it("S28, S30 shows what is dead or resting, until when and why, and what was said last", () =>
    withShowq(async (store, url) => {
      const { publish } = await openLeader(store);
      const untilMs = Date.now() + 60_000;
      const trouble = { atMs: 2_000_000, status: enhancedStatus("4.2.0"), reason: "421 go away" };
      await publish([
        destination("dead.example", { ...deadUntil(untilMs), endedPerMinute: 9, waiting: 9 }),
        destination("slow.example", { pausedUntilMs: untilMs, lastTrouble: trouble }),
        destination("was.example", deadUntil(5)),
      ]);
      const [dead] = listed(await get(`${url}/dead.example`));
      const until = Math.floor(untilMs / 1000);
      assert.partialDeepStrictEqual(dead, {
        dead: true,
        dead_since: 1000,
        dead_until: until,
        dead_status: "4.4.1",
        dead_reason: "Connection refused",
      });
      assert.equal(dead?.["eta_seconds"], undefined);
      const [slow] = listed(await get(`${url}/slow.example`));
      assert.partialDeepStrictEqual(slow, {
        paused_until: until,
        last_reply: { time: 2000, status: "4.2.0", text: "421 go away" },
      });
      assert.deepEqual(names(await get(`${url}?dead=true`)), ["smtp:dead.example"]);
      assert.deepEqual(names(await get(`${url}?dead=false`)).toSorted(), [
        "smtp:slow.example",
        "smtp:was.example",
      ]);
    }));

  it("finds a site by its whole name, or by its next hop over all transports", () =>
    withShowq(async (store, url) => {
      const { publish } = await openLeader(store);
      const relayed = { transport: "relay", nexthop: "[192.0.2.1]:26" };
      await publish([
        destination("[192.0.2.1]:26"),
        destination("", { name: "relay:[192.0.2.1]:26", destination: relayed }),
        destination("unix:/run/mail/socket"),
      ]);
      const site = encodeURIComponent("[192.0.2.1]:26");
      assert.deepEqual(names(await get(`${url}/${site}`)).toSorted(), [
        "relay:[192.0.2.1]:26",
        "smtp:[192.0.2.1]:26",
      ]);
      assert.deepEqual(names(await get(`${url}/relay:${site}`)), ["relay:[192.0.2.1]:26"]);
      assert.deepEqual(names(await get(`${url}/smtp:unix:/run/mail/socket`)), [
        "smtp:unix:/run/mail/socket",
      ]);
      assert.equal((await get(`${url}/other.example`)).status, 404);
      assert.equal((await get(`${url}/${"x".repeat(250)}.example`)).status, 404);
    }));

  it("pages through all of them", () =>
    withShowq(async (store, url) => {
      const { publish } = await openLeader(store);
      const all = Array.from({ length: 600 }, (_, n) => destination(`d${n}.example`));
      await publish(all);
      const seen: unknown[] = [];
      let pages = 0;
      for (let more = ""; more !== "end"; pages += 1) {
        const page = await get(`${url}?limit=50${more}`);
        seen.push(...names(page));
        const { cursor } = page.body;
        more = typeof cursor === "string" ? `&cursor=${cursor}` : "end";
      }
      assert.ok(pages > 1, `${pages} pages`);
      assert.deepEqual(new Set(seen), new Set(all.map(({ name }) => name)));
    }));

  it("refuses with 422 what it does not know", () =>
    withShowq(async (_store, url) => {
      for (const query of ["dead=maybe", "limit=0", "cursor=x", "cursor=1%20COUNT", "site=x"]) {
        assert.equal((await get(`${url}?${query}`)).status, 422, query);
      }
      assert.equal((await get(`${url}/far.example?x=1`)).status, 422);
    }));
});
