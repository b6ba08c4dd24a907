/**
 * A programmable SMTP server: the outside world as a test wants it to be.
 *
 * Each stage of a session asks the test's `decide` what to do: answer late, answer something else, cut the connection
 * before or after the answer, hang for ever, or drip the answer byte by byte. Without a decision it accepts. What
 * arrives is kept as received, dots unstuffed, line ends untouched. It speaks TLS when it is given a certificate,
 * takes any credentials, and may be an LMTP server.
 */
import { createServer } from "node:net";
import type { AddressInfo, Server, Socket } from "node:net";
import { setTimeout as delay } from "node:timers/promises";
import type { TlsOptions } from "node:tls";

import { ByteReader, ConnectionEnded } from "./byte-reader.ts";
import { dripping } from "./dripping-socket.ts";
import type { Credentials, Decide, SmtpStage } from "./fake-smtp-stages.ts";
import { askCredentials } from "./server-sasl.ts";
import { serverHandshake, tlsFacts } from "./server-handshake.ts";
import type { TlsFacts } from "./server-handshake.ts";

/** A message whose final dot arrived. In LMTP one for each recipient, since each has an answer of its own. */
export type ReceivedMessage = {
  readonly connection: number;
  readonly sender: string;
  readonly recipients: readonly string[];
  /** Parameters after MAIL FROM:<…>, e.g. "SIZE=100 BODY=8BITMIME". */
  readonly mailParameters: string;
  /** Headers and body as received, dots unstuffed. */
  readonly content: Buffer;
  readonly receivedMs: number;
  /** What the dot is answered with; "" when the connection is cut or hangs instead. */
  readonly reply: string;
  /** When that answer was written; undefined while it waits, or if the connection went before. */
  readonly answeredMs: number | undefined;
  /** Of the TLS session that it came in; undefined in plaintext. */
  readonly tls: TlsFacts | undefined;
};

export type FakeSmtpOptions = {
  readonly port?: number;
  /** After the host name in the EHLO reply. Default: PIPELINING, SIZE 0, 8BITMIME, ENHANCEDSTATUSCODES, DSN, SMTPUTF8. */
  readonly keywords?: readonly string[];
  /** In the EHLO reply under TLS. Default: as in plaintext. */
  readonly keywordsUnderTls?: readonly string[];
  /** Key, certificate and what else node:tls takes. With it STARTTLS is offered. */
  readonly tls?: TlsOptions;
  /** The handshake comes before the greeting; STARTTLS is not offered. */
  readonly isTlsImplicit?: boolean;
  /** Default smtp. lmtp: LHLO, and a reply for each recipient after the dot. */
  readonly protocol?: "smtp" | "lmtp";
  readonly decide?: Decide;
  /** Keep contents? Default true; false saves memory in long runs. */
  readonly keepsContent?: boolean;
};

type Session = {
  /** The TLS one after a handshake. */
  socket: Socket;
  /** Fires when the connection is closed. */
  readonly gone: AbortSignal;
  reader: ByteReader;
  tls: TlsFacts | undefined;
  /** After a handshake the client must introduce itself again (RFC 3207 §4.2). */
  owesHello: boolean;
  readonly connection: number;
  transaction: number;
  sender: string;
  mailParameters: string;
  recipients: string[];
  /** Told that either side has ended it. */
  readonly onEnd: () => void;
  /** Of the handshake to come. */
  handshakeDripMs: number | undefined;
};

/** When a connection was there. */
export type ConnectionTimes = Readonly<Times>;
type Times = { readonly openedMs: number; closedMs: number | undefined };

const defaultKeywords = [
  "PIPELINING",
  "SIZE 0",
  "8BITMIME",
  "ENHANCEDSTATUSCODES",
  "DSN",
  "SMTPUTF8",
];

const accepting: Readonly<Record<SmtpStage, string>> = {
  greeting: "220 fake.example.com ESMTP",
  ehlo: "250 fake.example.com",
  starttls: "220 2.0.0 Ready to start TLS",
  tls: "",
  auth: "235 2.7.0 Authentication successful",
  mail: "250 2.1.0 Ok",
  rcpt: "250 2.1.5 Ok",
  data: "354 End data with <CR><LF>.<CR><LF>",
  body: "",
  dot: "250 2.0.0 Ok: queued",
  rset: "250 2.0.0 Ok",
  quit: "221 2.0.0 Bye",
};

export class FakeSmtpServer implements AsyncDisposable {
  /** Asked at each stage; may be changed at any time. */
  decide: Decide;
  /** All messages whose dot arrived, in order. */
  readonly messages: ReceivedMessage[] = [];
  readonly #server: Server;
  readonly #options: FakeSmtpOptions;
  readonly #keepsContent: boolean;
  readonly #sockets = new Set<Socket>();
  /** Those that neither side has ended: a socket's "close" comes late in a busy process. */
  readonly #open = new Set<Socket>();
  readonly #times: Times[] = [];
  #mostConnections = 0;

  constructor(server: Server, options: FakeSmtpOptions) {
    this.#server = server;
    this.#options = options;
    this.#keepsContent = options.keepsContent ?? true;
    this.decide = options.decide ?? (() => undefined);
    server.on("connection", (socket) => this.#accept(socket));
  }

  static async start(options: FakeSmtpOptions = {}): Promise<FakeSmtpServer> {
    const server = createServer();
    const fake = new FakeSmtpServer(server, options);
    await new Promise<void>((resolve, reject) => {
      server.once("error", reject);
      server.listen(options.port ?? 0, "127.0.0.1", resolve);
    });
    return fake;
  }

  get port(): number {
    const address: AddressInfo | string | null = this.#server.address();
    return typeof address === "object" && address !== null ? address.port : 0;
  }

  /** As `relayhost` wants it. */
  get relayhost(): string {
    return `[127.0.0.1]:${this.port}`;
  }

  /** Open now, idle ones too; one that either side has ended no longer is. */
  get openConnections(): number {
    return this.#open.size;
  }

  /** The most that were ever open at once. */
  get mostConnections(): number {
    return this.#mostConnections;
  }

  /** All that were ever opened. */
  get totalConnections(): number {
    return this.#times.length;
  }

  /** Of each connection, in order of arrival; closed is one that either side has ended. */
  get connectionTimes(): readonly ConnectionTimes[] {
    return this.#times;
  }

  /** Messages that we answered with 2xx. */
  get accepted(): readonly ReceivedMessage[] {
    return this.messages.filter((message) => message.reply.startsWith("2"));
  }

  /** Destroys every open connection. */
  cutAll(): void {
    for (const socket of this.#sockets) socket.destroy();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()));
    this.cutAll();
    await closed;
  }

  #accept(socket: Socket): void {
    socket.setNoDelay(true);
    this.#sockets.add(socket);
    const times: Times = { openedMs: Date.now(), closedMs: undefined };
    const connection = this.#times.push(times);
    this.#open.add(socket);
    // Counted when what came together with it was read: the end of another, perhaps, that made room for it.
    setImmediate(() => {
      this.#mostConnections = Math.max(this.#mostConnections, this.#open.size);
    });
    const onEnd = () => {
      this.#open.delete(socket);
      times.closedMs ??= Date.now();
    };
    socket.once("end", onEnd);
    const gone = new AbortController();
    socket.once("close", () => {
      this.#sockets.delete(socket);
      onEnd();
      gone.abort();
    });
    const session: Session = {
      socket,
      gone: gone.signal,
      reader: new ByteReader(socket),
      tls: undefined,
      owesHello: false,
      connection,
      transaction: 0,
      sender: "",
      mailParameters: "",
      recipients: [],
      onEnd,
      handshakeDripMs: undefined,
    };
    this.#serve(session).catch((error: unknown) => {
      socket.destroy();
      if (!(error instanceof ConnectionEnded)) throw error;
    });
  }

  async #serve(session: Session): Promise<void> {
    if (this.#options.isTlsImplicit === true) {
      session.reader.release();
      await this.#handshake(session);
    }
    await this.#act(session, "greeting");
    for (;;) {
      const line = await session.reader.line();
      const verb = line.split(" ")[0]?.toUpperCase() ?? "";
      if (verb === "QUIT") {
        await this.#act(session, "quit", { line });
        session.socket.end();
        this.#open.delete(session.socket);
        return;
      }
      await this.#command(session, verb, line);
    }
  }

  async #command(session: Session, verb: string, line: string): Promise<void> {
    if (this.#hellos.includes(verb)) {
      await this.#hello(session, verb, line);
    } else if (verb === "STARTTLS" && this.#offersStartTls(session)) {
      await this.#startTls(session, line);
    } else if (session.owesHello) {
      await write(session.socket, "503 5.5.1 Error: send HELO/EHLO first\r\n");
    } else if (verb === "AUTH") {
      await this.#auth(session, line);
    } else if (verb === "MAIL") {
      await this.#mail(session, line);
    } else if (verb === "RCPT") {
      const recipient = pathOf(line).address;
      const reply = await this.#act(session, "rcpt", { line, recipient });
      if (reply.startsWith("2")) session.recipients.push(recipient);
    } else if (verb === "DATA") {
      await this.#data(session, line);
    } else if (verb === "RSET") {
      session.recipients = [];
      await this.#act(session, "rset", { line });
    } else if (verb === "NOOP") {
      await write(session.socket, "250 2.0.0 Ok\r\n");
    } else {
      await write(session.socket, "502 5.5.2 Error: command not recognized\r\n");
    }
  }

  get #hellos(): readonly string[] {
    return this.#options.protocol === "lmtp" ? ["LHLO"] : ["EHLO", "HELO"];
  }

  #offersStartTls(session: Session): boolean {
    return this.#options.tls !== undefined && session.tls === undefined;
  }

  async #hello(session: Session, verb: string, line: string): Promise<void> {
    session.owesHello = false;
    const { keywords = defaultKeywords, keywordsUnderTls = keywords } = this.#options;
    const offered = session.tls === undefined ? keywords : keywordsUnderTls;
    const startTls = this.#offersStartTls(session) ? ["STARTTLS"] : [];
    const lines = [accepting.ehlo.slice(4), ...(verb === "HELO" ? [] : [...offered, ...startTls])];
    const usual = lines.map((text, at) => `250${at === lines.length - 1 ? " " : "-"}${text}`);
    await this.#act(session, "ehlo", { line, usual: usual.join("\r\n") });
  }

  async #startTls(session: Session, line: string): Promise<void> {
    // Nothing may be read between the reply and the handshake: it is the handshake's.
    session.reader.release();
    const reply = await this.#act(session, "starttls", { line });
    if (reply.startsWith("2")) await this.#handshake(session);
    else session.reader = new ByteReader(session.socket);
  }

  async #handshake(session: Session): Promise<void> {
    const { tls } = this.#options;
    if (tls === undefined) throw new Error("a server without a certificate was asked for TLS");
    const reply = await this.#act(session, "tls");
    if (reply !== "") throw new ConnectionEnded("no handshake");
    const plain = session.socket;
    const { handshakeDripMs } = session;
    const wire = handshakeDripMs === undefined ? plain : dripping(plain, handshakeDripMs);
    const socket = await serverHandshake(wire, tls);
    socket.once("end", session.onEnd);
    session.reader = new ByteReader(socket);
    session.socket = socket;
    session.tls = tlsFacts(socket);
    session.owesHello = this.#options.isTlsImplicit !== true;
    session.sender = "";
    session.recipients = [];
  }

  async #auth(session: Session, line: string): Promise<void> {
    const credentials = await askCredentials(line, async (challenge) => {
      await write(session.socket, `334 ${challenge}\r\n`);
      return await session.reader.line();
    });
    if (typeof credentials === "string") await write(session.socket, `${credentials}\r\n`);
    else await this.#act(session, "auth", { line, credentials });
  }

  async #mail(session: Session, line: string): Promise<void> {
    const { address, rest } = pathOf(line);
    session.sender = address;
    session.mailParameters = rest;
    session.recipients = [];
    await this.#act(session, "mail", { line });
  }

  async #data(session: Session, line: string): Promise<void> {
    if (session.recipients.length === 0) {
      await write(session.socket, "554 5.5.1 Error: no valid recipients\r\n");
      return;
    }
    const start = await this.#act(session, "data", { line });
    if (!start.startsWith("3")) return;
    await session.reader.some();
    await this.#act(session, "body", { usual: "" });
    const content = await session.reader.content();
    const { recipients } = session;
    if (this.#options.protocol === "lmtp") {
      for (const recipient of recipients)
        await this.#receive(session, content, { recipients: [recipient], recipient });
    } else {
      await this.#receive(session, content, { recipients });
    }
    session.transaction += 1;
    session.recipients = [];
  }

  async #receive(
    session: Session,
    content: Buffer,
    whom: { readonly recipients: readonly string[]; readonly recipient?: string },
  ): Promise<void> {
    const message: Entry = {
      connection: session.connection,
      sender: session.sender,
      recipients: [...whom.recipients],
      mailParameters: session.mailParameters,
      content: this.#keepsContent ? content : Buffer.alloc(0),
      receivedMs: Date.now(),
      reply: "",
      answeredMs: undefined,
      tls: session.tls,
    };
    // Entered before the wait, so that a test sees what is in flight.
    const record = (reply: string) => this.messages.push(Object.assign(message, { reply }));
    await this.#act(session, "dot", { content, record, recipient: whom.recipient ?? "" });
    message.answeredMs = Date.now();
  }

  /** Asks, then answers. @returns the reply, "" when none was sent. @throws ConnectionEnded after a cut */
  async #act(session: Session, stage: SmtpStage, facts: Facts = {}): Promise<string> {
    const behaviour = await this.decide({
      stage,
      connection: session.connection,
      transaction: session.transaction,
      line: facts.line ?? "",
      sender: session.sender,
      recipients: session.recipients,
      recipient: facts.recipient ?? "",
      content: facts.content ?? Buffer.alloc(0),
      credentials: facts.credentials,
      tls: session.tls,
    });
    const reply = behaviour?.reply ?? facts.usual ?? accepting[stage];
    const isSilent = behaviour?.hangs === true || behaviour?.cut === "before";
    facts.record?.(isSilent ? "" : reply);
    if (behaviour?.delayMs !== undefined) await this.#wait(session, behaviour.delayMs);
    if (behaviour?.hangs === true) await this.#hang(session);
    if (behaviour?.cut === "before") throw new ConnectionEnded("cut before the answer");
    if (stage === "tls") session.handshakeDripMs = behaviour?.dripMs;
    if (reply !== "") await write(session.socket, `${reply}\r\n`, behaviour?.dripMs);
    if (behaviour?.cut === "after") throw new ConnectionEnded("cut after the answer");
    return reply;
  }

  async #wait(session: Session, ms: number): Promise<void> {
    await delay(ms, undefined, { signal: session.gone }).catch(() => {
      throw new ConnectionEnded("connection ended while it waited");
    });
  }

  async #hang(session: Session): Promise<never> {
    session.socket.pause();
    await new Promise<void>((resolve) => session.socket.once("close", () => resolve()));
    throw new ConnectionEnded("hung until the end");
  }
}

/** A message as it is filled in. */
type Entry = Omit<ReceivedMessage, "reply" | "answeredMs"> & {
  reply: string;
  answeredMs: number | undefined;
};

type Facts = {
  readonly line?: string;
  readonly recipient?: string;
  readonly content?: Buffer;
  readonly credentials?: Credentials;
  readonly usual?: string;
  readonly record?: (reply: string) => void;
};

/** The path of MAIL FROM:<path> or RCPT TO:<path>, quoted local parts included, and what follows it. */
function pathOf(line: string): { readonly address: string; readonly rest: string } {
  const match = /^[^<]*<((?:"(?:[^"\\]|\\.)*"|[^>"])*)>\s*(.*)$/.exec(line);
  return { address: match?.[1] ?? "", rest: match?.[2] ?? "" };
}

async function write(socket: Socket, text: string, dripMs?: number): Promise<void> {
  if (dripMs === undefined) {
    socket.write(text, "latin1");
    return;
  }
  for (const byte of text) {
    if (socket.destroyed) throw new ConnectionEnded("connection ended while it dripped");
    socket.write(byte, "latin1");
    await delay(dripMs);
  }
}
