/**
 * A Postfix that is not running, over a spool that is written here: its tools work on the files alone.
 *
 * Files get the names, modes, owners and times that Postfix gives them: 0700 when whole, with the group's x bit when
 * expiry is forced; the time of a deferred one is when it is due. Reasons lie in the logs under `defer`.
 *
 * Source: Postfix src/global/mail_queue.h, bounce_log.c; src/bounce/bounce_append_service.c.
 */
import { chmod, mkdir, mkdtemp, rm, utimes, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";

import { postfixPath, queueFile } from "@postmq/queue-admin";
import { postfixObstacle, run } from "@postmq/testing";

import type { QueuedMail } from "./queued-mail.ts";

const queues = ["maildrop", "incoming", "active", "deferred", "hold", "corrupt"];
const others = ["bounce", "defer", "trace", "flush", "saved", "pid", "private", "public"];
const systemIsDown = /^(?:post\w+|sendmail|mailq): warning: Mail system is down -- .*\n/gm;

export type ToolRan = {
  readonly code: number | null;
  readonly out: string;
  readonly err: string;
};

export class PostfixSpool implements AsyncDisposable {
  readonly directory: string;
  readonly #root: string;

  private constructor(root: string) {
    this.#root = root;
    this.directory = join(root, "spool");
  }

  static async write(
    messages: readonly QueuedMail[],
    settings: Readonly<Record<string, string>> = {},
  ): Promise<PostfixSpool> {
    const obstacle = postfixObstacle();
    if (obstacle !== undefined) throw new Error(obstacle);
    const root = await mkdtemp("/var/tmp/postmq-spool-");
    await chmod(root, 0o755);
    const spool = new PostfixSpool(root);
    for (const name of [...queues, ...others]) {
      await mkdir(join(spool.directory, name), { recursive: true });
    }
    for (const name of ["etc", "data"]) await mkdir(join(root, name));
    const lines = Object.entries({
      compatibility_level: "3.6",
      config_directory: join(root, "etc"),
      queue_directory: spool.directory,
      data_directory: join(root, "data"),
      myhostname: "mail.example.com",
      inet_interfaces: "127.0.0.1",
      enable_long_queue_ids: "yes",
      // The tools that give up root write it too.
      maillog_file: join(root, "data", "maillog"),
      maillog_file_prefixes: root,
      ...settings,
    });
    const mainCf = lines.map(([name, value]) => `${name} = ${value}\n`).join("");
    await writeFile(join(root, "etc", "main.cf"), mainCf);
    await writeFile(join(root, "etc", "master.cf"), "");
    const owned: string[] = [];
    for (const message of messages) owned.push(...(await spool.#writeMessage(message)));
    await run("chown", ["-R", "postfix", spool.directory, join(root, "data")]);
    return spool;
  }

  /** Runs one of Postfix's tools on it, without the warning that the mail system is down. */
  async run(
    words: readonly string[],
    input = "",
    env: Readonly<Record<string, string>> = {},
  ): Promise<ToolRan> {
    const [tool = "", ...args] = words;
    const ran = await run(`${tool === "mailq" ? "/usr/bin" : "/usr/sbin"}/${tool}`, args, {
      env: { MAIL_CONFIG: join(this.#root, "etc"), PATH: "/usr/sbin:/usr/bin:/bin", ...env },
      input,
    });
    const err = ran.stderr.replaceAll("/usr/sbin/", "").replaceAll(systemIsDown, "");
    return { code: ran.code, out: ran.stdout, err };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await rm(this.#root, { recursive: true, force: true });
  }

  async #writeMessage({ queue, copy, content }: QueuedMail): Promise<readonly string[]> {
    const path = join(this.directory, postfixPath(queue, copy.id));
    const bytes = Buffer.from(content.replaceAll("\n", "\r\n"));
    const file = await queueFile("", { copy, delayWarningMs: 0 }, () => once(bytes), true);
    const records = [...file.envelope];
    for await (const record of file.content()) records.push(record);
    const written = Buffer.concat([...records, ...file.extracted].map(recordInFile));
    await mkdir(dirname(path), { recursive: true });
    await writeFile(path, written);
    await chmod(path, copy.isForceExpired ? 0o710 : 0o700);
    const seconds = Math.floor((copy.dueMs ?? copy.arrivalMs) / 1000);
    await utimes(path, seconds, seconds);
    return [path, ...(await this.#writeDeferLog(copy))];
  }

  async #writeDeferLog(copy: QueuedMail["copy"]): Promise<readonly string[]> {
    const entries = copy.recipients.flatMap(({ address, state }) =>
      state.kind === "deferred"
        ? [
            `\n<${address}>: ${state.reason}\nrecipient=${address}\nstatus=${state.status}\n` +
              `action=delayed\nreason=${state.reason}\n`,
          ]
        : [],
    );
    if (entries.length === 0) return [];
    // The logs are laid out as the files of deferred are.
    const path = join(
      this.directory,
      postfixPath("deferred", copy.id).replace(/^deferred/, "defer"),
    );
    await mkdir(dirname(path), { recursive: true });
    await writeFile(path, `${entries.join("\n")}\n`, { mode: 0o600 });
    return [path];
  }
}

async function* once(bytes: Buffer): AsyncGenerator<Buffer> {
  yield bytes;
}

/** Letter, length in groups of seven bits, the lowest first, text. Source: Postfix src/global/record.c. */
function recordInFile({ type, text }: { readonly type: string; readonly text: Buffer }): Buffer {
  const length: number[] = [];
  let rest = text.length;
  do {
    length.push((rest & 0x7f) | (rest > 0x7f ? 0x80 : 0));
    rest >>= 7;
  } while (rest > 0);
  return Buffer.concat([Buffer.from(type), Buffer.from(length), text]);
}
