import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { Log } from "@postmq/observability";
import { PostmqError } from "@postmq/vocabulary";
import type { ErrorCode } from "@postmq/vocabulary";
import { connectStore } from "./connect-store.ts";

describe("connectStore", () => {
  function tryOpening(
    failures: readonly ErrorCode[],
    pauseMs: number,
    controller = new AbortController(),
  ) {
    let nowMs = 0;
    const lines: string[] = [];
    const note = (text: string) => void lines.push(text);
    const log: Log = { info: note, warning: note, error: note };
    const left = [...failures];
    const opened = connectStore({
      open: () => {
        const code = left.shift();
        return code === undefined
          ? Promise.resolve("store")
          : Promise.reject(new PostmqError(code, code));
      },
      log,
      signal: controller.signal,
      nowMs: () => nowMs,
      pause: () => {
        nowMs += pauseMs;
        if (nowMs > 60_000) controller.abort();
        return Promise.resolve();
      },
    });
    return { opened, lines };
  }

  it("tries again until the store is there", async () => {
    const { opened } = tryOpening(
      ["PMQ_STORE_UNREACHABLE", "PMQ_STORE_FULL", "PMQ_STORE_NO_REPLY"],
      1,
    );
    assert.equal(await opened, "store");
  });

  it("logs a failure at most every 5 s", async () => {
    const { opened, lines } = tryOpening(Array<ErrorCode>(12).fill("PMQ_STORE_UNREACHABLE"), 1_000);
    await opened;
    assert.equal(lines.length, 3);
  });

  it("gives up at once on a store that is unfit", async () => {
    const { opened } = tryOpening(["PMQ_STORE_UNREACHABLE", "PMQ_STORE_UNFIT"], 1);
    await assert.rejects(opened, /PMQ_STORE_UNFIT/);
  });

  it("ends without a store when draining starts", async () => {
    const { opened } = tryOpening(Array<ErrorCode>(100).fill("PMQ_STORE_UNREACHABLE"), 1_000);
    assert.equal(await opened, undefined);
  });
});
