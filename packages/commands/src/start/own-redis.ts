/**
 * The Redis that `npm start` runs for itself: durable, never evicting, reachable by this user alone.
 *
 * It listens on a Unix socket in a directory of mode 0700 and on no port, so it needs no password. It runs in a
 * process group of its own, so that Ctrl-C reaches the services and not it: they drain into it. It writes the
 * append-only file before it answers (`appendfsync always`), which is what a 250 stands on (P1).
 *
 * Source: DESIGN §7; §6 P1, P4, P9; spec faults.md 15.
 */
import { spawn, type ChildProcess } from "node:child_process";
import { chmodSync, mkdirSync, readFileSync, statSync } from "node:fs";
import { createConnection } from "node:net";
import { totalmem } from "node:os";
import { dirname, join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { PostmqError } from "@postmq/vocabulary";
import { ownRedisDirectory, ownRedisSocket } from "./own-redis-socket.ts";

const logName = "redis.log";

export type OwnRedisPlace = {
  /** Where the append-only file is. */
  readonly directory: string;
  /** What clients connect to; it is also a redis_url. */
  readonly socketPath: string;
};

/**
 * Makes the directories for Redis's data and socket, which nobody else may enter.
 *
 * @throws PMQ_STORE_UNFIT when the socket's directory belongs to somebody else.
 */
export function prepareOwnRedis(dataDirectory: string): OwnRedisPlace {
  const directory = ownRedisDirectory(dataDirectory);
  const socketPath = ownRedisSocket(dataDirectory);
  makePrivate(directory);
  makePrivate(dirname(socketPath));
  return { directory, socketPath };
}

function makePrivate(directory: string): void {
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  // In a directory that all may write to, somebody else may have been first.
  if (statSync(directory).uid !== process.getuid?.()) {
    throw new PostmqError("PMQ_STORE_UNFIT", `${directory} belongs to another user`);
  }
  chmodSync(directory, 0o700);
}

export function spawnOwnRedis(place: OwnRedisPlace): ChildProcess {
  return spawn("redis-server", ownRedisArguments(place), {
    cwd: place.directory,
    detached: true,
    stdio: "ignore",
  });
}

/** Redis keeps its configuration on the command line, so that no file is left to disagree with it. */
export function ownRedisArguments(place: OwnRedisPlace): readonly string[] {
  const settings: Readonly<Record<string, string>> = {
    port: "0",
    unixsocket: place.socketPath,
    unixsocketperm: "700",
    dir: place.directory,
    logfile: logName,
    pidfile: join(place.directory, "redis.pid"),
    daemonize: "no",
    appendonly: "yes",
    appendfsync: "always",
    "aof-load-truncated": "yes",
    // Mail passes through: most of the file is history. Rewriting it at Redis's default of 64 MB would be every few
    // seconds under load.
    "auto-aof-rewrite-min-size": "256mb",
    save: "",
    // Records as one block each: a third of the memory. Source: docs/decisions/006-acts-at-scale.md.
    "hash-max-listpack-value": "1024",
    "hash-max-listpack-entries": "128",
    maxmemory: String(Math.floor(memoryBytes() / 2)),
    "maxmemory-policy": "noeviction",
  };
  return Object.entries(settings).flatMap(([name, value]) => [`--${name}`, value]);
}

/** What this machine, or the container around this process, has. */
function memoryBytes(): number {
  const limit = process.constrainedMemory();
  return limit > 0 ? Math.min(limit, totalmem()) : totalmem();
}

/**
 * Resolves when Redis answers. It may take long: it reads its whole append-only file first.
 *
 * @throws the signal's reason when that fires first.
 */
export async function untilRedisAnswers(place: OwnRedisPlace, signal: AbortSignal): Promise<void> {
  while ((await askRedis(place.socketPath, "PING")) !== "+PONG") {
    await pause(20, undefined, { signal });
  }
}

/**
 * Ends a Redis that an earlier `npm start`, killed by -9, left running on this data. The caller holds the lock of
 * the data directory, so nobody else can want it; what it answered is on disk.
 *
 * @throws PMQ_STORE_UNREACHABLE when it does not end.
 */
export async function endLeftRedis(place: OwnRedisPlace, patienceMs: number): Promise<boolean> {
  const tries = Math.ceil(patienceMs / 50);
  if ((await askRedis(place.socketPath, "PING")) === undefined) return false;
  await askRedis(place.socketPath, "SHUTDOWN");
  for (let attempt = 0; attempt < tries; attempt++) {
    if ((await askRedis(place.socketPath, "PING")) === undefined) return true;
    await pause(50);
  }
  throw new PostmqError(
    "PMQ_STORE_UNREACHABLE",
    `a Redis left on ${place.directory} does not end`,
    {
      facts: { directory: place.directory },
    },
  );
}

/** The last words of a Redis that did not come up. */
export function lastWordsOfRedis(place: OwnRedisPlace): string {
  try {
    return readFileSync(join(place.directory, logName), "utf8")
      .trimEnd()
      .split("\n")
      .slice(-5)
      .join("\n");
  } catch {
    // It died before it opened its log.
    return "(no log)";
  }
}

/** Where Redis's log ends now: what it says from here on is of its next run. */
export function endOfRedisLog(place: OwnRedisPlace): number {
  return statSync(join(place.directory, logName), { throwIfNoEntry: false })?.size ?? 0;
}

/**
 * Writes the append-only file anew if Redis found it torn when it came up, as a power cut leaves it.
 *
 * Redis forgets the half of a script that was written last, but leaves it in the file, before what it writes next: the
 * start after this one would carry it out, an outcome without its counts or an index that drifts (7.0.15 at least;
 * mended in valkey-io/valkey#4342). The file that is written anew has only what Redis knows.
 *
 * @param logFrom what `endOfRedisLog` gave before it was started
 * @returns undefined: nothing was torn; else whether the file was written anew
 */
export async function mendTornFile(
  place: OwnRedisPlace,
  logFrom: number,
  signal: AbortSignal,
): Promise<"mended" | "failed" | undefined> {
  if (!/aof-load-truncated is enabled|incomplete MULTI\/EXEC/.test(logSince(place, logFrom))) {
    return undefined;
  }
  // It refuses while it does so already, or saves a snapshot: then that is waited for.
  for (;;) {
    const answer = (await askRedis(place.socketPath, "BGREWRITEAOF")) ?? "";
    if (answer.startsWith("+")) break;
    if (!answer.includes("in progress")) return "failed";
    await pause(20, undefined, { signal });
  }
  for (;;) {
    const info = (await askRedis(place.socketPath, "INFO persistence")) ?? "";
    if (/aof_rewrite_in_progress:0/.test(info) && /aof_rewrite_scheduled:0/.test(info)) {
      return /aof_last_bgrewrite_status:ok/.test(info) ? "mended" : "failed";
    }
    if (info === "") return "failed";
    await pause(20, undefined, { signal });
  }
}

function logSince(place: OwnRedisPlace, from: number): string {
  try {
    return readFileSync(join(place.directory, logName)).subarray(from).toString("latin1");
  } catch {
    // It died before it opened its log.
    return "";
  }
}

/** @returns the answer, of one line or a text of many; empty when it hung up or was silent; undefined: nobody listens. */
function askRedis(socketPath: string, command: string): Promise<string | undefined> {
  return new Promise((resolve) => {
    const socket = createConnection(socketPath);
    let answer = "";
    let isConnected = false;
    const settle = (result: string | undefined): void => {
      socket.destroy();
      resolve(result);
    };
    socket.setTimeout(1_000, () => settle(""));
    socket.on("connect", () => {
      isConnected = true;
      socket.write(`${command}\r\n`);
    });
    socket.on("data", (bytes) => {
      answer += bytes.toString("latin1");
      const whole = wholeAnswer(answer);
      if (whole !== undefined) settle(whole);
    });
    socket.on("end", () => settle(""));
    // Nobody listens, or the file is a leftover: both mean that no Redis is there.
    socket.on("error", () => settle(isConnected ? "" : undefined));
  });
}

/** Source: Redis serialization protocol, simple and bulk strings. */
function wholeAnswer(answer: string): string | undefined {
  const end = answer.indexOf("\r\n");
  if (end < 0) return undefined;
  const [, length] = /^\$(\d+)$/.exec(answer.slice(0, end)) ?? [];
  if (length === undefined) return answer.slice(0, end);
  const text = answer.slice(end + 2, end + 2 + Number(length));
  return text.length === Number(length) ? text : undefined;
}
