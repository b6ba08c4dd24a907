/**
 * A power cut, simulated: Redis runs under strace, which tells what of its append-only file was synced; after the kill
 * the file is cut back to that, as a disk that lost power would show it.
 *
 * Needs the system's package `strace`. Source: spec faults.md 13; strace(1).
 */
import { existsSync } from "node:fs";
import { readFile, truncate } from "node:fs/promises";
import { join } from "node:path";

import { startRedis } from "@postmq/testing";
import type { RedisServer } from "@postmq/testing";

export function hasStrace(): boolean {
  return existsSync("/usr/bin/strace");
}

export type TracedRedis = {
  readonly redis: RedisServer;
  /** Kills Redis and cuts its file; call `redis.restart()` then. @returns how many bytes were lost. */
  cutPower(): Promise<number>;
};

type Extent = { written: number; synced: number };

export async function startTracedRedis(
  directory: string,
  appendfsync: "always" | "no",
): Promise<TracedRedis> {
  const trace = join(directory, "trace");
  const redis = await startRedis({
    dir: directory,
    appendfsync,
    wrapper: [
      "strace",
      "-f",
      "-y",
      "-qq",
      "-s",
      "0",
      "-e",
      "trace=write,fdatasync,fsync",
      "-o",
      trace,
    ],
  });
  let before = new Map<string, Extent>();
  return {
    redis,
    cutPower: async () => {
      await redis.kill9();
      const extents = readTrace(await readFile(trace, "utf8"), before);
      let lost = 0;
      for (const [file, { written, synced }] of extents) {
        await truncate(file, synced);
        lost += written - synced;
      }
      // What is left is on disk, and the next run goes on behind it.
      before = new Map(
        [...extents].map(([file, { synced }]) => [file, { written: synced, synced }]),
      );
      return lost;
    },
  };
}

/** Bytes written to each append-only file, and how many of them were there at its last finished sync. */
function readTrace(
  trace: string,
  before: ReadonlyMap<string, Extent>,
): ReadonlyMap<string, Extent> {
  const files = new Map([...before].map(([file, extent]) => [file, { ...extent }]));
  /** The call that each thread is in: strace splits a line when another thread comes between. */
  const begun = new Map<
    string,
    { readonly call: string; readonly file: string; readonly upTo: number }
  >();
  for (const line of trace.split("\n")) {
    const [, thread = "", text = ""] = /^(\d+)\s+(.*)$/.exec(line) ?? [];
    const start = /^(write|fdatasync|fsync)\(\d+<([^>]*\.incr\.aof)>/.exec(text);
    if (start !== null) {
      const [, call = "", file = ""] = start;
      begun.set(thread, { call, file, upTo: files.get(file)?.written ?? 0 });
    }
    const current = begun.get(thread);
    const result = /\)\s+= (-?\d+)/.exec(text)?.[1];
    if (current === undefined || result === undefined) continue;
    begun.delete(thread);
    const state = files.get(current.file) ?? { written: 0, synced: 0 };
    files.set(current.file, state);
    if (current.call === "write") state.written += Math.max(0, Number(result));
    else if (result === "0") state.synced = Math.max(state.synced, current.upTo);
  }
  return files;
}
