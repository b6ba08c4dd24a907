/** destination_grouping = mx over a whole term: what domains of one site share, and who waits for DNS. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { Destination, QueueId } from "@postmq/vocabulary";
import { FakeStore } from "./fake-store.test-support.ts";
import type { RunningJob } from "./fake-store.test-support.ts";
import { Leading, limits, settled } from "./leading.test-support.ts";
import type { LeadingChanges } from "./leading.test-support.ts";

/** Domains `x.big.example` are all served by the same hosts; those of `slow.example` are known when the test says so. */
class FakeSites {
  #known = false;
  readonly #answer = Promise.withResolvers<void>();

  siteOf({ nexthop }: Destination): string | undefined {
    if (nexthop.endsWith(".big.example")) return "mx:mx.big.example";
    return this.#known && isSlow(nexthop) ? "mx:mx.slow.example" : undefined;
  }

  prepare(destinations: Iterable<Destination>): Promise<void> | undefined {
    const waits = !this.#known && [...destinations].some(({ nexthop }) => isSlow(nexthop));
    return waits ? this.#answer.promise : undefined;
  }

  async answer(): Promise<void> {
    this.#known = true;
    this.#answer.resolve();
    await settled();
  }
}

const isSlow = (nexthop: string) => nexthop.endsWith(".slow.example");

async function lead(changes: LeadingChanges = {}) {
  const store = new FakeStore(20);
  store.liveWorkers.add("w1");
  const sites = new FakeSites();
  const leading = new Leading(store, { sites, ...changes });
  await leading.takeOver();
  const submit = async (...addresses: readonly string[]): Promise<QueueId> => {
    const id = store.submit("s@x.example", addresses);
    leading.ring("incoming");
    await settled();
    return id;
  };
  const claimAll = (): readonly RunningJob[] => {
    const jobs: RunningJob[] = [];
    for (;;) {
      const job = store.claim("w1", 0);
      if (job === undefined) return jobs;
      jobs.push(job);
    }
  };
  const end = async (kind: "sent" | "deferred", job: RunningJob | undefined): Promise<void> => {
    assert(job !== undefined);
    store.end(job, "tried", () => kind);
    await settled();
  };
  return { store, sites, leading, submit, claimAll, end };
}

describe("destination_grouping = mx", () => {
  it("S16 S23 keeps one limit over all domains of a site, and none over others", async () => {
    const { leading, submit, claimAll, end } = await lead();
    for (const domain of ["a.big", "b.big", "c.big", "a.big", "b.big", "other"]) {
      await submit(`u@${domain}.example`);
    }
    const jobs = claimAll();
    assert.equal(jobs.length, limits.destination + 1);
    assert.equal(leading.scheduler?.jobsOut, limits.destination + 1);
    await end("sent", jobs[0]);
    assert.equal(claimAll().length, 1, "the place that came free serves the next domain");
  });

  it("S17 makes a request for each next hop, so that each domain's own servers are asked", async () => {
    const { store, submit } = await lead();
    const id = await submit("u@a.big.example", "v@b.big.example", "w@a.big.example");
    const nexthops = [...store.record(id).requests.values()].map(({ destination }) => destination);
    assert.deepEqual(nexthops, [
      { transport: "smtp", nexthop: "a.big.example", site: "mx:mx.big.example" },
      { transport: "smtp", nexthop: "b.big.example", site: "mx:mx.big.example" },
    ]);
  });

  it("is told of by the site's name", async () => {
    const { store, leading, submit } = await lead();
    await submit("u@a.big.example");
    await leading.ticker.advance(1000);
    const report = store.destinations.get("smtp:mx:mx.big.example");
    assert.deepEqual(report?.destination, { transport: "smtp", nexthop: "mx:mx.big.example" });
    assert.equal(report.inFlight, 1);
  });

  it("holds up no other mail while DNS is silent", async () => {
    const { store, sites, submit, claimAll, end } = await lead();
    const slow = await submit("u@a.slow.example");
    const quick = await submit("u@other.example");
    const [job] = claimAll();
    await end("sent", job);
    assert.equal(store.ended.get(quick), "removed");
    assert.equal(store.record(slow).requests.size, 0);
    await sites.answer();
    const [request] = store.record(slow).requests.values();
    assert.equal(request?.destination.site, "mx:mx.slow.example");
  });

  it("counts mail that waits as active, so that no audit finds it in nobody's hands", async () => {
    const { store, leading, sites, submit } = await lead();
    const id = await submit("u@a.slow.example");
    await leading.ticker.advance(12_000);
    assert.equal(store.published?.scheduler.activeMessages, 1);
    assert.deepEqual(
      leading.log.lines.filter((line) => line.startsWith("the term ended")),
      [],
    );
    await sites.answer();
    assert.equal(store.record(id).requests.size, 1);
  });

  it("leaves room in active only for what is not taken by mail that waits", async () => {
    const { store, sites, submit } = await lead({ activeLimit: 2 });
    const ids = [
      await submit("u@a.slow.example"),
      await submit("u@b.slow.example"),
      await submit("u@c.other.example"),
    ];
    assert.deepEqual(
      ids.map((id) => store.record(id).queue),
      ["active", "active", "incoming"],
    );
    await sites.answer();
  });

  it("forgets a message that an operator takes away while it waits", async () => {
    const { store, sites, leading, submit, claimAll, end } = await lead();
    const id = await submit("u@a.slow.example");
    store.move(id, "hold");
    await settled();
    await sites.answer();
    assert.equal(store.record(id).queue, "hold");
    assert.equal(leading.scheduler?.jobsOut, 0);
    store.move(id, "incoming");
    leading.ring("incoming");
    await settled();
    const [job] = claimAll();
    await end("sent", job);
    assert.equal(store.ended.get(id), "removed");
  });

  it("takes the end of a request that is told while its message waits", async () => {
    const { store, sites, leading, submit, claimAll, end } = await lead();
    await sites.answer();
    const id = await submit("u@other.example", "u@a.slow.example");
    const [first, second] = claimAll();
    leading.stop();
    const coldSites = new FakeSites();
    const next = new Leading(store, { sites: coldSites });
    await next.takeOver();
    await next.ticker.advance(1000);
    await end("sent", first);
    await coldSites.answer();
    assert.equal(store.record(id).queue, "active", "one of its requests is out still");
    await end("sent", second);
    assert.equal(store.ended.get(id), "removed");
  });

  it("waits for the sites of recipients that are read later", async () => {
    const { store, sites, submit, claimAll } = await lead();
    store.mostRecipientsRead = 2;
    const id = await submit("a@other.example", "b@other.example", "c@a.slow.example");
    store.end(claimAll()[0] ?? assert.fail(), "tried", () => "sent");
    await settled();
    assert.equal(store.record(id).requests.size, 0);
    const quick = await submit("u@other.example");
    for (const job of claimAll()) store.end(job, "tried", () => "sent");
    await settled();
    assert.equal(store.ended.get(quick), "removed", "decisions about other mail go on");
    await sites.answer();
    const [request] = store.record(id).requests.values();
    assert.equal(request?.destination.site, "mx:mx.slow.example");
  });
});
