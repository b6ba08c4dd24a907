import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { ownRedisSocket } from "./own-redis-socket.ts";

describe("ownRedisSocket", () => {
  it("is beside the data", () => {
    assert.equal(ownRedisSocket("/srv/postmq/var"), "/srv/postmq/var/redis/redis.sock");
  });

  it("is the same short path each time where the data lies too deep for a socket", () => {
    const deep = `/${"directory/".repeat(12)}var`;
    assert.equal(ownRedisSocket(deep), ownRedisSocket(deep));
    assert.ok(Buffer.byteLength(ownRedisSocket(deep)) <= 107);
    assert.notEqual(ownRedisSocket(deep), ownRedisSocket(`${deep}2`));
  });
});
