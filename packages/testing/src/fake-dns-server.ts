/**
 * A name server of a test's own: UDP and TCP at one port of 127.0.0.1, answers from a zone or from a function.
 *
 * What is larger than 512 bytes is cut off over UDP, as RFC 1035 wants it for who does not speak EDNS. Every question is
 * kept, so that a test can count them.
 */
import { createSocket } from "node:dgram";
import type { RemoteInfo, Socket as UdpSocket } from "node:dgram";
import { createServer } from "node:net";
import type { AddressInfo, Server, Socket } from "node:net";
import { setTimeout as delay } from "node:timers/promises";

import {
  AUTHORITATIVE_ANSWER,
  RECURSION_AVAILABLE,
  TRUNCATED_RESPONSE,
  decode,
  encode,
} from "dns-packet";
import type { Packet } from "dns-packet";

import { replyFromZone } from "./dns-zone.ts";
import type { DnsZone, FakeDnsReply } from "./dns-zone.ts";

export type FakeDnsQuestion = {
  readonly name: string;
  readonly type: string;
  readonly transport: "udp" | "tcp";
};

export type DecideDns = (question: FakeDnsQuestion) => FakeDnsReply | undefined;

export type FakeDnsOptions = {
  readonly port?: number;
  readonly zone?: DnsZone;
  /** Asked before the zone is; undefined leaves it to the zone. */
  readonly decide?: DecideDns;
};

const codes = { NOERROR: 0, FORMERR: 1, SERVFAIL: 2, NXDOMAIN: 3, NOTIMP: 4, REFUSED: 5 } as const;
const udpLimitBytes = 512;
/** Another process may hold the UDP port of a TCP port that was free. */
const mostPortTries = 20;

export class FakeDnsServer implements AsyncDisposable {
  /** Both may be changed at any time. */
  zone: DnsZone;
  decide: DecideDns;
  /** All that were asked, in order, names as they came. */
  readonly questions: FakeDnsQuestion[] = [];
  readonly port: number;
  readonly #udp: UdpSocket;
  readonly #tcp: Server;
  readonly #sockets = new Set<Socket>();
  readonly #closing = new AbortController();

  private constructor(udp: UdpSocket, tcp: Server, options: FakeDnsOptions) {
    this.#udp = udp;
    this.#tcp = tcp;
    this.port = udp.address().port;
    this.zone = options.zone ?? {};
    this.decide = options.decide ?? (() => undefined);
    udp.on("message", (bytes, from) => void this.#answerUdp(bytes, from));
    tcp.on("connection", (socket) => this.#serveTcp(socket));
  }

  static async start(options: FakeDnsOptions = {}): Promise<FakeDnsServer> {
    for (let tries = 1; ; tries++) {
      const tcp = createServer();
      const udp = createSocket("udp4");
      try {
        const port = await listenTcp(tcp, options.port ?? 0);
        await bindUdp(udp, port);
        return new FakeDnsServer(udp, tcp, options);
      } catch (error) {
        udp.close();
        tcp.close();
        if (options.port !== undefined || tries === mostPortTries) throw error;
      }
    }
  }

  /** As `dns_servers` wants it. */
  get address(): string {
    return `127.0.0.1:${this.port}`;
  }

  /** How often this was asked, over UDP and TCP. */
  count(name: string, type?: string): number {
    return this.questions.filter(
      (question) =>
        question.name.toLowerCase() === name.toLowerCase() &&
        (type === undefined || question.type === type),
    ).length;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closing.abort();
    const closed = [
      new Promise<void>((resolve) => this.#udp.close(resolve)),
      new Promise<void>((resolve) => this.#tcp.close(() => resolve())),
    ];
    for (const socket of this.#sockets) socket.destroy();
    await Promise.all(closed);
  }

  async #answerUdp(bytes: Buffer, from: RemoteInfo): Promise<void> {
    const reply = await this.#reply(bytes, "udp");
    if (reply !== undefined) this.#udp.send(reply, from.port, from.address);
  }

  #serveTcp(socket: Socket): void {
    this.#sockets.add(socket);
    socket.on("error", () => socket.destroy());
    socket.on("close", () => this.#sockets.delete(socket));
    let bytes: Buffer = Buffer.alloc(0);
    socket.on("data", (more: Buffer) => {
      bytes = Buffer.concat([bytes, more]);
      while (bytes.length >= 2 && bytes.length >= bytes.readUInt16BE(0) + 2) {
        const end = bytes.readUInt16BE(0) + 2;
        void this.#answerTcp(socket, bytes.subarray(2, end));
        bytes = bytes.subarray(end);
      }
    });
  }

  async #answerTcp(socket: Socket, bytes: Buffer): Promise<void> {
    const reply = await this.#reply(bytes, "tcp");
    if (reply === undefined || socket.destroyed) return;
    const length = Buffer.alloc(2);
    length.writeUInt16BE(reply.length);
    socket.write(Buffer.concat([length, reply]));
  }

  /** @returns undefined: silence */
  async #reply(bytes: Buffer, transport: "udp" | "tcp"): Promise<Buffer | undefined> {
    const query = decode(bytes);
    const [asked] = query.questions ?? [];
    if (asked === undefined) return undefined;
    const question: FakeDnsQuestion = { name: asked.name, type: asked.type, transport };
    this.questions.push(question);
    const reply = this.decide(question) ?? replyFromZone(this.zone, asked.name, asked.type);
    if (reply.delayMs !== undefined) {
      await delay(reply.delayMs, undefined, { signal: this.#closing.signal }).catch(() => {});
    }
    if (reply.isSilent === true || this.#closing.signal.aborted) return undefined;
    const encoded = encodeReply(query, reply, transport);
    return reply.rewrite === undefined ? encoded : reply.rewrite(encoded);
  }
}

function encodeReply(query: Packet, reply: FakeDnsReply, transport: "udp" | "tcp"): Buffer {
  const flags = AUTHORITATIVE_ANSWER | RECURSION_AVAILABLE | codes[reply.code ?? "NOERROR"];
  const head: Packet = {
    type: "response",
    id: query.id ?? 0,
    flags,
    questions: [...(query.questions ?? [])],
  };
  const whole = encode({
    ...head,
    answers: [...(reply.answers ?? [])],
    authorities:
      reply.negativeTtlSeconds === undefined
        ? []
        : [
            {
              type: "SOA",
              name: "test",
              ttl: reply.negativeTtlSeconds,
              data: { mname: "ns.test", rname: "root.test", minimum: reply.negativeTtlSeconds },
            },
          ],
  });
  const isCut = reply.isTruncated === true || whole.length > udpLimitBytes;
  return isCut && transport === "udp"
    ? encode({ ...head, flags: flags | TRUNCATED_RESPONSE })
    : whole;
}

function listenTcp(server: Server, port: number): Promise<number> {
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen(port, "127.0.0.1", () => {
      const address: AddressInfo | string | null = server.address();
      resolve(typeof address === "object" && address !== null ? address.port : 0);
    });
  });
}

function bindUdp(socket: UdpSocket, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    socket.once("error", reject);
    socket.bind(port, "127.0.0.1", resolve);
  });
}
