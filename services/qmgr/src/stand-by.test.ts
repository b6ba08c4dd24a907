import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { PostmqError } from "@postmq/vocabulary";
import { FakeStore } from "./fake-store.test-support.ts";
import { Lines, noMeters, settled } from "./leading.test-support.ts";
import { standByAndLead } from "./stand-by.ts";
import type { Leads } from "./stand-by.ts";

function standBy(store: FakeStore, lead: Leads) {
  const stop = new AbortController();
  const pauses: (() => void)[] = [];
  const log = new Lines();
  const ended = standByAndLead(
    {
      leadership: store,
      lead,
      log,
      meters: noMeters,
      random: () => 0.5,
      pause: (ms, signal) => {
        assert(ms >= 250 && ms <= 500, `paused for ${ms} ms`);
        return new Promise((resolve) => {
          pauses.push(resolve);
          signal.addEventListener("abort", () => resolve());
        });
      },
    },
    stop.signal,
  );
  const nextTry = async (): Promise<void> => {
    pauses.shift()?.();
    await settled();
  };
  return { ended, stop: () => stop.abort(), nextTry, log };
}

/** Leads until told to stop, and gives the lease back as a term does. */
function orderly(store: FakeStore, terms: string[]): Leads {
  return async (fence, signal) => {
    terms.push(fence);
    await new Promise<void>((resolve) => signal.addEventListener("abort", () => resolve()));
    await store.release(fence);
  };
}

describe("standByAndLead", () => {
  it("P6 leads only while nobody else does, and takes over when the lease falls", async () => {
    const store = new FakeStore(1);
    store.holder = "another";
    const terms: string[] = [];
    const qmgr = standBy(store, orderly(store, terms));
    await settled();
    await qmgr.nextTry();
    assert.deepEqual(terms, []);
    store.holder = undefined;
    await qmgr.nextTry();
    assert.equal(terms.length, 1);
    qmgr.stop();
    await qmgr.ended;
    assert.equal(store.holder, undefined);
  });

  it("stands by again after a failure of the store, frees its lease, and leads anew with a greater fence", async () => {
    const store = new FakeStore(1);
    const terms: string[] = [];
    const qmgr = standBy(store, async (fence, signal) => {
      if (terms.length > 0) return orderly(store, terms)(fence, signal);
      terms.push(fence);
      throw new PostmqError("PMQ_STORE_NO_REPLY", "no answer");
    });
    await settled();
    assert.deepEqual(terms, ["1"]);
    await qmgr.nextTry();
    assert.deepEqual(terms, ["1", "2"]);
    qmgr.stop();
    await qmgr.ended;
  });

  it("keeps asking while Redis is away, and says so once", async () => {
    const store = new FakeStore(1);
    const terms: string[] = [];
    store.acquire = () => Promise.reject(new PostmqError("PMQ_STORE_UNREACHABLE", "Redis is away"));
    const qmgr = standBy(store, orderly(store, terms));
    await settled();
    for (let n = 0; n < 5; n += 1) await qmgr.nextTry();
    assert.deepEqual(qmgr.log.lines, ["standing by: Redis is away"]);
    qmgr.stop();
    await qmgr.ended;
  });

  it("ends with a bug instead of hiding it", async () => {
    const qmgr = standBy(new FakeStore(1), () => Promise.reject(new TypeError("a bug")));
    await assert.rejects(qmgr.ended, TypeError);
  });
});
