/**
 * Fills deferred with very many messages, quickly: records, contents and indexes as the store's scripts leave them after
 * some attempts (queue-store's lua/include/records.lua and indexes.lua). `checkInstance` tells whether they are right.
 *
 * Arrivals are spread over three days, the oldest first; due times lie an hour ahead and more, so that nothing moves.
 */
import { createHash } from "node:crypto";
import { once } from "node:events";
import { connect } from "node:net";
import type { Socket } from "node:net";

import type { RedisServer } from "@postmq/testing";
import { makeQueueId } from "@postmq/vocabulary";

export type Filling = {
  readonly messages: number;
  readonly domains: number;
  readonly senders: number;
  readonly contentBytes: number;
  /** Default: default. */
  readonly instanceName?: string;
};

type Scores = Map<string, (string | number)[]>;

const agesMs = 3 * 86_400_000;
const batch = 1000;

export async function fillDeferred(redis: RedisServer, filling: Filling): Promise<void> {
  const pipe = await Pipe.open(redis.port);
  const prefix = `postmq:{${filling.instanceName ?? "default"}}`;
  const nowMs = Date.now();
  const content = Buffer.alloc(filling.contentBytes, "Subject: a test\r\n\r\nA line of text.\r\n");
  for (let from = 0; from < filling.messages; from += batch) {
    const scores: Scores = new Map();
    const put = (key: string, score: number, member: string) => {
      const flat = scores.get(key);
      if (flat === undefined) scores.set(key, [score, member]);
      else flat.push(score, member);
    };
    for (let i = from; i < Math.min(from + batch, filling.messages); i += 1) {
      const arrivalMs = nowMs - agesMs + Math.floor((i * agesMs) / filling.messages);
      const id = makeQueueId(arrivalMs * 1000, i);
      const domain = `d${(i * 7919) % filling.domains}.example.com`;
      const number = i % filling.senders;
      const senderDomain = `s${number % 100}.example.net`;
      const sender = `user${number}@${senderDomain}`;
      const dueMs = nowMs + 3_600_000 + (i % 4_000_000);
      const hash = keyHash(sender);
      put(`${prefix}:q:deferred`, arrivalMs, id);
      put(`${prefix}:e:deferred`, arrivalMs, id);
      put(`${prefix}:due`, dueMs, id);
      put(`${prefix}:d:deferred:${keyHash(domain)}`, arrivalMs, id);
      put(`${prefix}:s:deferred:${keyHash(senderDomain)}`, arrivalMs, id);
      put(`${prefix}:f:${hash}`, arrivalMs, id);
      pipe.send(["HINCRBY", `${prefix}:dc:deferred`, domain, 1]);
      pipe.send(["HINCRBY", `${prefix}:sc:deferred`, senderDomain, 1]);
      pipe.send(["HSET", `${prefix}:c:${id}`, "0", content]);
      const record = recordOf({ arrivalMs, dueMs, domain, sender, senderDomain, hash, filling, i });
      pipe.send(["HSET", `${prefix}:m:${id}`, ...record]);
    }
    for (const [key, flat] of scores) pipe.send(["ZADD", key, ...flat]);
    await pipe.flush();
  }
  await pipe.end();
}

type Known = {
  readonly i: number;
  readonly arrivalMs: number;
  readonly dueMs: number;
  readonly domain: string;
  readonly sender: string;
  readonly senderDomain: string;
  readonly hash: string;
  readonly filling: Filling;
};

function recordOf(known: Known): readonly (string | number)[] {
  const { i, arrivalMs, domain, sender, filling } = known;
  const address = `203.0.113.${i % 250}`;
  const envelope = {
    sender,
    origin: "smtp",
    client: {
      name: `client${i % 250}.example.net`,
      address,
      port: 40_000,
      helo: "client",
      protocol: "ESMTP",
    },
  };
  const reason = `connect to mx1.${domain}[192.0.2.${i % 250}]:25: Connection timed out while waiting for the server's greeting, tried 3 servers`;
  return [
    ...["q", "deferred", "g", 5, "at", arrivalMs, "ct", arrivalMs, "qe", arrivalMs],
    ...["sz", filling.contentBytes, "ch", 1, "e", JSON.stringify(envelope)],
    ...["sd", known.senderDomain, "sf", known.hash, "n", 1, "u", 1, "ds", `${domain}\n1`],
    ...["0", `user${i}@${domain}`, "rn", 2, "o", "", "s0", `t\n4.4.1\n${reason}\n`],
    ...["a", 2, "la", arrivalMs, "due", known.dueMs],
  ];
}

function keyHash(text: string): string {
  return createHash("sha1").update(text).digest("hex").slice(0, 16);
}

/** Commands one after the other, their answers only counted. */
class Pipe {
  readonly #socket: Socket;
  #parts: (string | Buffer)[] = [];
  #trouble: string | undefined;

  constructor(socket: Socket) {
    this.#socket = socket;
    socket.on("data", (bytes) => {
      if (bytes.toString("latin1").includes("\n-") || bytes[0] === 0x2d)
        this.#trouble = bytes.toString("latin1").slice(0, 200);
    });
  }

  static async open(port: number): Promise<Pipe> {
    const socket = connect({ port, host: "127.0.0.1" });
    await once(socket, "connect");
    return new Pipe(socket);
  }

  send(command: readonly (string | number | Buffer)[]): void {
    this.#parts.push(`*${command.length}\r\n`);
    for (const part of command) {
      const bytes = typeof part === "number" ? String(part) : part;
      this.#parts.push(`$${Buffer.byteLength(bytes)}\r\n`, bytes, "\r\n");
    }
  }

  async flush(): Promise<void> {
    const bytes = Buffer.concat(
      this.#parts.map((part) => (typeof part === "string" ? Buffer.from(part) : part)),
    );
    this.#parts = [];
    if (!this.#socket.write(bytes)) await once(this.#socket, "drain");
    if (this.#trouble !== undefined) throw new Error(this.#trouble);
  }

  /** Everything is stored. */
  async end(): Promise<void> {
    const answered = Promise.withResolvers<void>();
    let tail = "";
    this.#socket.on("data", (bytes) => {
      tail = (tail + bytes.toString("latin1")).slice(-40);
      if (tail.includes("all-of-it")) answered.resolve();
    });
    this.send(["ECHO", "all-of-it"]);
    await this.flush();
    await answered.promise;
    this.#socket.destroy();
  }
}
