/** A raw SMTP client that sends exactly what it is told: lines, bytes, or a whole message. */
import { connect } from "node:net";
import type { Socket } from "node:net";

import { ByteReader, ConnectionEnded, stuff } from "./byte-reader.ts";

export type ClientReply = {
  readonly code: number;
  /** All lines without their codes, e.g. ["mail.example.com", "PIPELINING"]. */
  readonly lines: readonly string[];
  /** The whole reply as sent, lines joined by a newline. */
  readonly text: string;
};

export type MessageToSend = {
  readonly from: string;
  readonly to: readonly string[];
  readonly content: Buffer | string;
};

export class SmtpClient implements Disposable {
  readonly #socket: Socket;
  readonly #reader: ByteReader;

  constructor(socket: Socket) {
    this.#socket = socket;
    this.#reader = new ByteReader(socket);
  }

  /** Connects without reading the greeting. */
  static async connect(port: number, host = "127.0.0.1"): Promise<SmtpClient> {
    const socket = connect({ port, host });
    const client = new SmtpClient(socket);
    await new Promise<void>((resolve, reject) => {
      socket.once("connect", resolve);
      socket.once("error", reject);
    });
    socket.setNoDelay(true);
    return client;
  }

  /** Connects, reads the greeting, says EHLO. @throws when either is not answered with 2xx. */
  static async open(port: number, name = "client.example.com"): Promise<SmtpClient> {
    const client = await SmtpClient.connect(port);
    const greeting = await client.reply();
    if (greeting.code !== 220) throw new Error(`greeted with ${greeting.text}`);
    const hello = await client.command(`EHLO ${name}`);
    if (hello.code !== 250) throw new Error(`EHLO answered ${hello.text}`);
    return client;
  }

  /** Sends bytes as they are. */
  send(bytes: Buffer | string): void {
    this.#socket.write(bytes, "latin1");
  }

  /** The next reply. @throws ConnectionEnded when the server closes instead. */
  async reply(): Promise<ClientReply> {
    const lines: string[] = [];
    for (;;) {
      const line = await this.#reader.line();
      lines.push(line);
      if (!/^\d{3}-/.test(line)) break;
    }
    const code = Number.parseInt(lines[0] ?? "", 10);
    return { code, lines: lines.map((line) => line.slice(4)), text: lines.join("\n") };
  }

  /** All replies until the server closes, as text. */
  async repliesToTheEnd(): Promise<readonly string[]> {
    const replies: string[] = [];
    try {
      for (;;) replies.push((await this.reply()).text);
    } catch (error) {
      if (error instanceof ConnectionEnded) return replies;
      throw error;
    }
  }

  /** Sends one line and reads its reply. */
  async command(line: string): Promise<ClientReply> {
    this.send(`${line}\r\n`);
    return await this.reply();
  }

  /** Sends one message on this connection, dots stuffed. @returns the first refusal, or the reply to the dot. */
  async deliver(message: MessageToSend): Promise<ClientReply> {
    const mail = await this.command(`MAIL FROM:<${message.from}>`);
    if (mail.code !== 250) return mail;
    for (const recipient of message.to) {
      const rcpt = await this.command(`RCPT TO:<${recipient}>`);
      if (rcpt.code !== 250) return rcpt;
    }
    const data = await this.command("DATA");
    if (data.code !== 354) return data;
    const content =
      typeof message.content === "string" ? Buffer.from(message.content, "utf8") : message.content;
    this.send(stuff(content));
    return await this.reply();
  }

  /** Cuts the connection without QUIT. */
  [Symbol.dispose](): void {
    this.#socket.destroy();
  }
}

/** One message over a connection of its own. */
export async function sendMail(port: number, message: MessageToSend): Promise<ClientReply> {
  using client = await SmtpClient.open(port);
  const reply = await client.deliver(message);
  client.send("QUIT\r\n");
  return reply;
}
