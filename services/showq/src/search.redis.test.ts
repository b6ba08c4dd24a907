import assert from "node:assert/strict";
import { request } from "node:http";
import { after, before, describe, it } from "node:test";

import { parseSelection } from "@postmq/queue-admin";
import type { Selecting, Store } from "@postmq/queue-store";
import { openHttpServer } from "@postmq/service-kit";
import { startRedis, waitFor, withStore } from "@postmq/testing";
import type { RedisServer } from "@postmq/testing";
import { isPostmqError } from "@postmq/vocabulary";
import type { QueueId } from "@postmq/vocabulary";

import { LongReads } from "./long-reads.ts";
import { commitMany } from "./looking-on.test-support.ts";
import { queueRoutes } from "./queue-routes.ts";
import { searchPage } from "./search.ts";

const selected = (...pairs: readonly (readonly [string, string])[]) =>
  parseSelection(pairs, { nowMs: Date.now() });

/** Ids of all pages, in order; how many pages that took. */
async function searched(
  selecting: Selecting,
  limit: number,
  ...pairs: readonly (readonly [string, string])[]
): Promise<{ readonly ids: readonly QueueId[]; readonly pages: number }> {
  const ids: QueueId[] = [];
  let pages = 0;
  for (let cursor: string | undefined = ""; cursor !== undefined; pages += 1) {
    const from = cursor === "" ? {} : { cursor };
    const page = await searchPage(selecting, selected(...pairs), { limit, ...from });
    assert.ok(page.messages.length <= limit);
    ids.push(...page.messages.map(({ id }) => id));
    ({ cursor } = page);
  }
  return { ids, pages };
}

describe("a search", () => {
  let redis: RedisServer;
  before(async () => {
    redis = await startRedis();
  });
  after(() => redis[Symbol.asyncDispose]());

  const within = (test: (store: Store) => Promise<void>) =>
    withStore(({ store }) => test(store), { redis });

  it("gives each message of a selection once, over queues, pages of indexes and pages asked for", () =>
    within(async (store) => {
      const spam = [
        ...(await commitMany(store, { queue: "maildrop", count: 230, sender: "spam@x.example" })),
        ...(await commitMany(store, { queue: "hold", count: 230, sender: "spam@x.example" })),
      ];
      await commitMany(store, { queue: "hold", count: 30, sender: "ham@x.example" });
      const selecting = store.selecting();
      const { ids } = await searched(selecting, 7, ["sender", "spam@x.example"]);
      assert.deepEqual(ids.toSorted(), spam.toSorted());
      const held = await searched(
        selecting,
        1000,
        ["sender_domain", "x.example"],
        ["queue", "hold"],
      );
      assert.equal(held.ids.length, 260);
      const whole = await searched(selecting, 100);
      assert.equal(new Set(whole.ids).size, 490);
      assert.equal(whole.ids.length, 490);
      const some = spam.slice(3, 30);
      const named = await searched(selecting, 10, ["id", some.join(",")]);
      assert.deepEqual(named.ids.toSorted(), some.toSorted());
    }));

  it("passes over no older message of the next queue when a page ends with the last of one", () =>
    within(async (store) => {
      const held = await commitMany(store, { queue: "hold", count: 4, sender: "a@x.example" });
      const first = await commitMany(store, { queue: "maildrop", count: 2, sender: "a@x.example" });
      const { ids } = await searched(store.selecting(), 1, ["sender", "a@x.example"]);
      assert.deepEqual(ids.toSorted(), [...first, ...held].toSorted());
    }));

  it("ends a request that finds little with a cursor instead of looking at everything", () =>
    within(async (store) => {
      await commitMany(store, { queue: "hold", count: 5_600, sender: "a@x.example" });
      const [last] = await commitMany(store, { queue: "hold", count: 1, sender: "b@x.example" });
      const selecting = store.selecting();
      const page = await searchPage(selecting, selected(["sender_contains", "b@"]), { limit: 10 });
      assert.deepEqual(page.messages, []);
      assert.ok(page.cursor !== undefined);
      const { ids, pages } = await searched(selecting, 10, ["sender_contains", "b@"]);
      assert.deepEqual(ids, [last]);
      assert.ok(pages === 2, `${pages} requests`);
      // Nor when the index holds messages of another queue.
      const cursor = Buffer.from("maildrop~sender 0 ").toString("base64url");
      const others = selected(["sender", "a@x.example"], ["queue", "maildrop"]);
      const none = await searchPage(selecting, others, { limit: 10, cursor });
      assert.deepEqual(none.messages, []);
      assert.ok(none.cursor !== undefined);
    }));

  it("ends a page of messages of many recipients early, by index and by id", () =>
    within(async (store) => {
      const recipients = Array.from({ length: 1000 }, (_, i) => ({ address: `a${i}@far.example` }));
      const intake = store.intake();
      const all: QueueId[] = [];
      for (let i = 0; i < 45; i += 1) {
        const id = intake.newId();
        const writer = intake.openContent(id);
        const envelope = { sender: "list@x.example", origin: "smtp" } as const;
        const content = await writer.finish();
        await intake.commit({ id, queue: "hold", envelope, recipients, content });
        all.push(id);
      }
      const selecting = store.selecting();
      for (const pair of [
        ["sender", "list@x.example"],
        ["id", all.join(",")],
      ] as const) {
        const seen: QueueId[] = [];
        for (let cursor: string | undefined = ""; cursor !== undefined;) {
          const from = cursor === "" ? {} : { cursor };
          const page = await searchPage(selecting, selected(pair), { limit: 1000, ...from });
          assert.ok(page.messages.length > 0 && page.messages.length < 25, pair[0]);
          seen.push(...page.messages.map(({ id }) => id));
          ({ cursor } = page);
        }
        assert.deepEqual(seen.toSorted(), all.toSorted());
      }
    }));

  it("as one stream ends at the next page when nobody reads on, also where it finds nothing", () =>
    within(async (store) => {
      await commitMany(store, { queue: "hold", count: 3_000, sender: "a@x.example" });
      const selecting = store.selecting();
      const gone = Promise.withResolvers<undefined>();
      let pages = 0;
      const watched: Selecting = {
        countCandidates: (...about) => selecting.countCandidates(...about),
        messages: (ids) => selecting.messages(ids),
        undoneRecipients: (id, from) => selecting.undoneRecipients(id, from),
        candidates: async (about) => {
          pages += 1;
          if (pages === 2) await gone.promise;
          return await selecting.candidates(about);
        },
      };
      await using server = await openHttpServer({
        listen: "127.0.0.1:0",
        listenParameter: "showq_listen",
        tokensFile: "",
        log: { info: () => undefined, warning: () => undefined, error: () => undefined },
        bodyLimitBytes: 1024,
        routes: (app, needs) => {
          app.server.on("connection", (socket) =>
            socket.on("close", () => {
              setImmediate(() => {
                gone.resolve(undefined);
              });
            }),
          );
          const looking = store.looking();
          const parts = { store, looking, selecting: watched };
          queueRoutes(app, needs, { ...parts, longReads: new LongReads(), emptyAddress: "" });
        },
      });
      const path = "/v1/messages?queue=hold&sender_contains=nobody";
      const headers = { accept: "application/x-ndjson" };
      const asked = request(`http://${server.address}${path}`, { headers }).on("error", () => {
        // It hangs up itself.
      });
      asked.end();
      await waitFor(() => pages === 2);
      asked.destroy();
      await gone.promise;
      // In that time the stream would have come to its end, too.
      await searched(selecting, 10, ["queue", "hold"], ["sender_contains", "nobody"]);
      assert.ok(pages <= 3, `${pages} pages read`);
    }));

  it("goes on behind the last message given though that has left", () =>
    within(async (store) => {
      const all = await commitMany(store, { queue: "hold", count: 20, sender: "a@x.example" });
      const selecting = store.selecting();
      const selection = selected(["queue", "hold"]);
      const first = await searchPage(selecting, selection, { limit: 5 });
      const given = first.messages.map(({ id }) => id);
      await store.acting().act("delete", given);
      const rest = await searchPage(selecting, selection, {
        limit: 100,
        ...(first.cursor === undefined ? {} : { cursor: first.cursor }),
      });
      const seen = [...given, ...rest.messages.map(({ id }) => id)];
      assert.deepEqual(seen.toSorted(), all.toSorted());
    }));

  it("goes on by arrival where ids were named, in whatever order", () =>
    within(async (store) => {
      const all = await commitMany(store, { queue: "hold", count: 3, sender: "a@x.example" });
      const selecting = store.selecting();
      const selection = selected(["id", all.toReversed().join(",")]);
      const { messages, cursor = "" } = await searchPage(selecting, selection, { limit: 1 });
      const given = messages.map(({ id }) => id);
      await store.acting().act("delete", given);
      const rest = await searchPage(selecting, selection, { limit: 5, cursor });
      const seen = [...given, ...rest.messages.map(({ id }) => id)];
      assert.deepEqual(seen.toSorted(), all.toSorted());
    }));

  it("7: takes as cursor only what it gave itself, so that no text of a caller reaches Redis", () =>
    within(async (store) => {
      const selecting = store.selecting();
      const inside = (text: string) => Buffer.from(text).toString("base64url");
      const cursors = [
        "x",
        "hold",
        inside("hold"),
        inside("nosuch~"),
        inside("hold~x y z"),
        inside("hold~queue 0 -inf"),
        inside("hold~queue 0 5 LIMIT 1"),
        inside("hold~sender 0 "),
        inside("hold~~1"),
        inside("hold~~1~a b"),
        inside("hold~~-inf~4cXyZ0abc1zz"),
        inside("active~"),
      ];
      for (const cursor of cursors) {
        const selection = selected(["queue", "hold"]);
        await assert.rejects(
          searchPage(selecting, selection, { limit: 5, cursor }),
          (error) => isPostmqError(error, "PMQ_USAGE"),
          cursor,
        );
      }
    }));
});
