/**
 * A mail server whose TLS is not Node's: `openssl s_server` speaks TLS from the first byte, and a few lines here speak SMTP
 * through it. For one session.
 */
import { spawn } from "node:child_process";
import type { ChildProcessByStdio } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Readable, Writable } from "node:stream";

import { freePort, waitFor } from "@postmq/testing";
import type { TestCertificate } from "@postmq/testing";

export class OpensslPeer implements AsyncDisposable {
  readonly port: number;
  /** What arrived between DATA and the dot, in order. */
  readonly messages: string[] = [];
  readonly #child: ChildProcessByStdio<Writable, Readable, Readable>;
  #lines = "";
  #content: string[] | undefined;
  #heard = "";

  private constructor(port: number, child: ChildProcessByStdio<Writable, Readable, Readable>) {
    this.port = port;
    this.#child = child;
    child.stdout.on("data", (bytes: Buffer) => this.#hear(bytes.toString("latin1")));
    child.stderr.on("data", (bytes: Buffer) => (this.#heard += bytes.toString("latin1")));
    // The greeting waits in the pipe for whoever comes.
    this.#say("220 openssl.example ESMTP");
  }

  /** @param options more arguments of s_server(1), such as -tls1_2 */
  static async start(
    directory: string,
    certificate: TestCertificate,
    options: readonly string[] = [],
  ): Promise<OpensslPeer> {
    const file = join(directory, "openssl-peer.pem");
    writeFileSync(file, certificate.cert + certificate.key, { mode: 0o600 });
    const port = await freePort();
    const args = ["s_server", "-accept", `127.0.0.1:${port}`, "-cert", file, "-key", file];
    const child = spawn("openssl", [...args, ...options], { stdio: ["pipe", "pipe", "pipe"] });
    const peer = new OpensslPeer(port, child);
    await waitFor(() => peer.#lines.includes("ACCEPT"), {
      describe: () => `openssl s_server to listen: ${peer.#heard}`,
    });
    peer.#lines = "";
    return peer;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const ended = new Promise<void>((resolve) => this.#child.once("close", () => resolve()));
    this.#child.kill("SIGKILL");
    await ended;
  }

  #hear(text: string): void {
    this.#lines += text;
    for (;;) {
      const end = this.#lines.indexOf("\r\n");
      if (end < 0) return;
      const line = this.#lines.slice(0, end);
      this.#lines = this.#lines.slice(end + 2);
      this.#line(line.slice(line.lastIndexOf("\n") + 1));
    }
  }

  #line(line: string): void {
    if (this.#content !== undefined) {
      if (line !== ".") {
        this.#content.push(line);
        return;
      }
      this.messages.push(this.#content.join("\n"));
      this.#content = undefined;
      this.#say("250 2.0.0 Ok");
    } else if (/^DATA$/i.test(line)) {
      this.#content = [];
      this.#say("354 go on");
    } else if (/^QUIT$/i.test(line)) {
      this.#say("221 2.0.0 bye");
    } else {
      this.#say("250 openssl.example");
    }
  }

  #say(line: string): void {
    this.#child.stdin.write(`${line}\r\n`);
  }
}
