import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { startRedis } from "./redis-server.ts";

describe("startRedis", () => {
  it("keeps what was written over a kill -9 and a restart on the same port", async () => {
    await using redis = await startRedis();
    assert.equal(await redis.cli("SET", "key", "value"), "OK");
    assert.match(await redis.cli("CONFIG", "GET", "appendfsync"), /always/);
    await redis.kill9();
    await redis.restart();
    assert.equal(await redis.cli("GET", "key"), "value");
  });

  it("asks for a password when one is set", async () => {
    await using redis = await startRedis({ password: "secret-of-a-test" });
    assert.equal(await redis.cli("PING"), "PONG");
    assert.match(redis.url, /^redis:\/\/:secret-of-a-test@127\.0\.0\.1:\d+$/);
  });
});
