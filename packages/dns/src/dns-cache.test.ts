import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { DnsCache } from "./dns-cache.ts";

describe("DnsCache", () => {
  it("lets the least recently used answer go when there are too many", async () => {
    const asked: string[] = [];
    const cache = new DnsCache<string>(() => 0, 2);
    const get = (key: string) =>
      cache.get(key, async () => {
        asked.push(key);
        return { answer: { kind: "found", records: [key] }, ttlMs: 1_000 };
      });
    for (const key of ["a", "b", "a", "c", "a", "b"]) await get(key);
    assert.deepEqual(asked, ["a", "b", "c", "b"]);
    assert.equal(cache.size, 2);
  });

  it("asks again after a question that broke", async () => {
    const cache = new DnsCache<string>(() => 0);
    await assert.rejects(cache.get("a", () => Promise.reject(new Error("a bug"))));
    const answer = await cache.get("a", async () => ({ answer: { kind: "noData" }, ttlMs: 0 }));
    assert.deepEqual(answer, { kind: "noData" });
  });
});
