/** Where the Redis of `npm start` listens: what `redis_url` means when it is empty. */
import { createHash } from "node:crypto";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** Longest path that a Unix socket address holds, its closing NUL aside. Source: unix(7). */
const longestSocketPath = 107;

/** Where that Redis keeps its data. */
export function ownRedisDirectory(dataDirectory: string): string {
  return join(dataDirectory, "redis");
}

/** Beside the data; or in a temporary directory named after it, where that path would be too long for a socket. */
export function ownRedisSocket(dataDirectory: string): string {
  const directory = ownRedisDirectory(dataDirectory);
  const socket = join(directory, "redis.sock");
  if (Buffer.byteLength(socket) <= longestSocketPath) return socket;
  const name = createHash("sha256").update(directory).digest("hex").slice(0, 16);
  return join(tmpdir(), `postmq-${name}`, "redis.sock");
}
