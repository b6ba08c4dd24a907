/**
 * Asks name servers, as a stub resolver does.
 *
 * Each question goes out over a UDP socket of its own, connected to the server, with a random id; a reply counts only if
 * it has that id and repeats the question. A reply that does not fit is asked for again over TCP. Servers are asked in
 * order, and all of them once more when none could say anything: what one server can't answer, another may.
 *
 * Important: REFUSED and NOTIMP are trouble of that server, as they are in the GNU C library, not facts about the name: a
 * resolver that shuts us out must not make mail bounce.
 *
 * Source: RFC 1035 §4.2, §7.3; RFC 5452 §4, §9; RFC 7766; resolv.conf(5) timeout, attempts; glibc resolv/res_send.c.
 */
import { createSocket } from "node:dgram";
import { connect, isIPv6 } from "node:net";
import { randomInt } from "node:crypto";

import { RECURSION_DESIRED, TRUNCATED_RESPONSE, decode, encode, streamEncode } from "dns-packet";
import type { Packet } from "dns-packet";

import { isSameName, replyCode } from "./dns-reply.ts";
import type { DnsQuestion } from "./dns-reply.ts";
import type { DnsServer } from "./dns-servers.ts";

export type DnsClientSettings = {
  /** Asked in this order. */
  readonly servers: readonly DnsServer[];
  /** For each server, each time. */
  readonly timeoutMs: number;
};

/** tryAgain: no server could say; failed: all say that the question is wrong. */
export type DnsReply = Packet | "tryAgain" | "failed";

/** Source: resolv.conf(5) attempts. */
const rounds = 2;
const successCodes: readonly number[] = [0, 3];
/** SERVFAIL, NOTIMP, REFUSED. */
const troubleCodes: readonly number[] = [2, 4, 5];
/** A reply that has our id and can't be read: no use in waiting on. */
type Heard = Packet | "garbled" | undefined;

export async function askServers(
  question: DnsQuestion,
  { servers, timeoutMs }: DnsClientSettings,
): Promise<DnsReply> {
  for (let round = 0; round < rounds; round++) {
    let isTrouble = servers.length === 0;
    for (const server of servers) {
      const reply = await askServer(question, server, timeoutMs);
      const code = typeof reply === "object" ? replyCode(reply) : undefined;
      if (typeof reply === "object" && successCodes.includes(replyCode(reply))) return reply;
      if (code === undefined || troubleCodes.includes(code)) isTrouble = true;
    }
    if (!isTrouble) return "failed";
  }
  return "tryAgain";
}

async function askServer(
  question: DnsQuestion,
  server: DnsServer,
  timeoutMs: number,
): Promise<Heard> {
  const query: Packet = {
    type: "query",
    id: randomInt(0x1_00_00),
    flags: RECURSION_DESIRED,
    questions: [{ ...question, class: "IN" }],
  };
  const heard = await overUdp(query, server, timeoutMs);
  const isCut = typeof heard === "object" && ((heard.flags ?? 0) & TRUNCATED_RESPONSE) !== 0;
  return isCut ? await overTcp(query, server, timeoutMs) : heard;
}

/** @returns undefined: no answer in time, or nobody there */
function overUdp(query: Packet, server: DnsServer, timeoutMs: number): Promise<Heard> {
  return new Promise((resolve) => {
    const socket = createSocket(isIPv6(server.address) ? "udp6" : "udp4");
    const end = (heard: Heard) => {
      clearTimeout(timer);
      socket.removeAllListeners();
      // Whatever the system still has to say about this socket is of no interest.
      socket.on("error", () => {});
      socket.close();
      resolve(heard);
    };
    const timer = setTimeout(() => end(undefined), timeoutMs);
    socket.on("error", () => end(undefined));
    socket.on("message", (bytes) => {
      const heard = readPacket(bytes, query);
      if (heard !== undefined) end(heard);
    });
    socket.on("connect", () => socket.send(encode(query)));
    socket.connect(server.port, server.address);
  });
}

function overTcp(query: Packet, server: DnsServer, timeoutMs: number): Promise<Heard> {
  return new Promise((resolve) => {
    const socket = connect({ host: server.address, port: server.port });
    let bytes: Buffer = Buffer.alloc(0);
    const end = (heard: Heard) => {
      clearTimeout(timer);
      socket.destroy();
      resolve(heard);
    };
    const timer = setTimeout(() => end(undefined), timeoutMs);
    socket.on("error", () => end(undefined));
    socket.on("close", () => end(undefined));
    socket.on("connect", () => socket.write(streamEncode(query)));
    socket.on("data", (more: Buffer) => {
      bytes = Buffer.concat([bytes, more]);
      const length = bytes.length < 2 ? undefined : bytes.readUInt16BE(0);
      if (length !== undefined && bytes.length >= length + 2)
        end(readPacket(bytes.subarray(2, length + 2), query));
    });
  });
}

/** @returns undefined: not an answer to this question */
function readPacket(bytes: Buffer, query: Packet): Heard {
  if (bytes.length < 2 || bytes.readUInt16BE(0) !== query.id) return undefined;
  let packet: Packet;
  try {
    packet = decode(bytes);
  } catch {
    // Nobody else knows the id: it is the server's answer, and it makes no sense.
    return "garbled";
  }
  const [asked] = query.questions ?? [];
  const [echoed, ...others] = packet.questions ?? [];
  const isOurs =
    packet.type === "response" &&
    asked !== undefined &&
    echoed !== undefined &&
    others.length === 0 &&
    isSameName(asked.name, echoed.name) &&
    asked.type === echoed.type;
  return isOurs ? packet : undefined;
}
