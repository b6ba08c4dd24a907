import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { redisUrlOptions } from "./redis-url.ts";

describe("redisUrlOptions", () => {
  it("reads TCP, TLS, socket and Sentinel forms", () => {
    assert.deepEqual(redisUrlOptions("redis://h:7000/2"), { host: "h", port: 7000, db: 2 });
    assert.deepEqual(redisUrlOptions("rediss://u:p%40w@[::1]"), {
      username: "u",
      password: "p@w",
      tls: {},
      host: "::1",
      port: 6379,
    });
    assert.deepEqual(redisUrlOptions("unix:///run/redis.sock"), { path: "/run/redis.sock" });
    assert.deepEqual(redisUrlOptions("redis+sentinel://:pw@a:1,b/mymaster"), {
      password: "pw",
      sentinels: [
        { host: "a", port: 1 },
        { host: "b", port: 26379 },
      ],
      name: "mymaster",
    });
  });

  it("names what is wrong without showing the password (security 14)", () => {
    assert.throws(
      () => redisUrlOptions("http://user:secret@host"),
      (error: Error) => /redis_url/.test(error.message) && !error.message.includes("secret"),
    );
  });
});
