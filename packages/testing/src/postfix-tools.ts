/**
 * Postfix's own test tools, as processes: `smtp-sink`, a server that is not ours, and `smtp-source`, its load.
 *
 * They come with the system's package `postfix`; a test that needs them asks `hasPostfixTools` first.
 * Source: smtp-sink(1), smtp-source(1).
 */
import { chmod, mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { existsSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { Child, run } from "./child-process.ts";
import { freePort } from "./free-port.ts";
import { waitFor } from "./wait-for.ts";

const sinkProgram = "/usr/sbin/smtp-sink";
const sourceProgram = "/usr/sbin/smtp-source";

export function hasPostfixTools(): boolean {
  return existsSync(sinkProgram) && existsSync(sourceProgram);
}

export type SinkOptions = {
  readonly port?: number;
  /** Keep messages, to be read by `dumped`. Costs a file per message. */
  readonly dumps?: boolean;
  /** -w: seconds before it answers the final dot. */
  readonly delaySeconds?: number;
  /** More options, e.g. ["-W", "data:1"] or ["-r", "rcpt"]. */
  readonly args?: readonly string[];
};

/** A message as smtp-sink dumped it. */
export type DumpedMessage = {
  readonly sender: string;
  readonly recipients: readonly string[];
  /** Headers and body with the line ends as dumped (LF). */
  readonly content: Buffer;
};

export class SmtpSink implements AsyncDisposable {
  readonly port: number;
  readonly #child: Child;
  readonly #dumpDir: string | undefined;
  #output = "";
  #messages = 0;
  #lastMs = performance.now();

  constructor(port: number, child: Child, dumpDir: string | undefined) {
    this.port = port;
    this.#child = child;
    this.#dumpDir = dumpDir;
    child.onOutput((bytes) => this.#count(bytes));
  }

  get pid(): number {
    return this.#child.pid;
  }

  get relayhost(): string {
    return `[127.0.0.1]:${this.port}`;
  }

  /** Messages received so far. */
  get messages(): number {
    return this.#messages;
  }

  /** When the counter last moved, by performance.now(). */
  get lastMs(): number {
    return this.#lastMs;
  }

  /** All messages kept so far; only with `dumps`. One that is being written is left out. */
  async dumped(): Promise<readonly DumpedMessage[]> {
    const dir = this.#dumpDir;
    if (dir === undefined) throw new Error("this sink keeps no messages");
    const names = await readdir(dir);
    const dumps = await Promise.all(names.map((name) => readFile(join(dir, name))));
    return dumps.flatMap((dump) => parseDump(dump) ?? []);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#child.kill9();
    if (this.#dumpDir !== undefined) await rm(this.#dumpDir, { recursive: true, force: true });
  }

  #count(bytes: Buffer): void {
    this.#output = (this.#output + bytes.toString("latin1")).slice(-200);
    // A number that is cut in two reads is smaller than the true one, and the next read brings that.
    const messages = Number(/.*mesg=(\d+)/s.exec(this.#output)?.[1] ?? 0);
    if (messages <= this.#messages) return;
    this.#messages = messages;
    this.#lastMs = performance.now();
  }
}

/** Starts an smtp-sink on a free port of 127.0.0.1 that accepts everything. */
export async function smtpSink(options: SinkOptions = {}): Promise<SmtpSink> {
  const dumpDir =
    options.dumps === true ? await mkdtemp(join(tmpdir(), "postmq-sink-")) : undefined;
  if (dumpDir !== undefined) await chmod(dumpDir, 0o777);
  const port = options.port ?? (await freePort());
  const args = [
    "-c",
    ...Object.entries({ "-m": "1000", ...(dumpDir && { "-d": "%M." }) }).flat(),
    ...(process.getuid?.() === 0 ? ["-u", "nobody"] : []),
    ...(options.delaySeconds === undefined ? [] : ["-w", String(options.delaySeconds)]),
    ...(options.args ?? []),
    `127.0.0.1:${port}`,
    "1000",
  ];
  // It dumps into its working directory, since as nobody it may not enter the directories above.
  const child = new Child(sinkProgram, args, dumpDir === undefined ? {} : { cwd: dumpDir });
  const sink = new SmtpSink(port, child, dumpDir);
  await waitFor(
    async () => {
      if (!child.isRunning) throw new Error(`smtp-sink did not start: ${child.stderr}`);
      return await accepts(port);
    },
    { describe: "smtp-sink to listen" },
  );
  return sink;
}

export type SourceOptions = {
  readonly port: number;
  readonly messages: number;
  /** Default 20. */
  readonly sessions?: number;
  /** Length of the body in bytes; default 4096. */
  readonly lengthBytes?: number;
  /** -d: keep the connection for many messages. */
  readonly keepsConnections?: boolean;
  /** -N: a number of its own before each recipient. */
  readonly numbersRecipients?: boolean;
  readonly from?: string;
  readonly to?: string;
  readonly args?: readonly string[];
};

/** Sends messages with smtp-source, to its end. @throws when one is refused. */
export async function smtpSource(options: SourceOptions): Promise<void> {
  const { code, stdout, stderr } = await run(sourceProgram, sourceArgs(options), {
    timeoutMs: 600_000,
  });
  if (code !== 0) throw new Error(`smtp-source ended with ${code}: ${stdout}${stderr}`);
}

/** Starts smtp-source without waiting for its end. */
export function startSmtpSource(options: SourceOptions): Child {
  return new Child(sourceProgram, sourceArgs(options));
}

function sourceArgs(options: SourceOptions): readonly string[] {
  const settings = {
    "-C": "20",
    "-l": String(options.lengthBytes ?? 4096),
    "-s": String(options.sessions ?? 20),
    "-m": String(options.messages),
    "-f": options.from ?? "sender@src.example.com",
    "-t": options.to ?? "user@dest.example.com",
  };
  return [
    ...Object.entries(settings).flat(),
    ...(options.keepsConnections === true ? ["-d"] : []),
    ...(options.numbersRecipients === true ? ["-N"] : []),
    ...(options.args ?? []),
    `inet:127.0.0.1:${options.port}`,
  ];
}

/** The dump's own headers come first: X-Client-Addr, X-Mail-Args, X-Rcpt-Args, then a Received; a newline ends it. */
function parseDump(dump: Buffer): DumpedMessage | undefined {
  const text = dump.toString("latin1");
  const sender = /^X-Mail-Args: <([^>]*)>/m.exec(text)?.[1];
  const own = /^Received: from .*\n(?:[ \t].*\n)+/m.exec(text);
  if (sender === undefined || own === null) return undefined;
  const recipients = [...text.slice(0, own.index).matchAll(/^X-Rcpt-Args: <([^>]*)>/gm)];
  return {
    sender,
    recipients: recipients.map((match) => match[1] ?? ""),
    content: dump.subarray(own.index + own[0].length, dump.length - 1),
  };
}

function accepts(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ port, host: "127.0.0.1" });
    socket.once("connect", () => {
      socket.end("QUIT\r\n");
      resolve(true);
    });
    socket.once("error", () => resolve(false));
  });
}
