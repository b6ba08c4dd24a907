/**
 * A Postfix of our own on loopback, for comparison: its own configuration, spool and log in one directory.
 *
 * It runs with the defaults of Debian's package and the settings that a test adds, relays everything to one sink, and
 * does no local delivery. It needs root, as Postfix does; the system's own instance is not touched.
 * Source: postconf(5), postfix(1).
 */
import { chmod, mkdir, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { existsSync } from "node:fs";
import { join } from "node:path";

import { run } from "./child-process.ts";
import { freePort } from "./free-port.ts";
import { SmtpClient } from "./smtp-client.ts";
import { waitFor } from "./wait-for.ts";

const postfix = "/usr/sbin/postfix";

/** Why no Postfix can be run here, or undefined. */
export function postfixObstacle(): string | undefined {
  if (!existsSync(postfix)) return "Postfix is not installed (scripts/setup --peers installs it)";
  if (process.getuid?.() !== 0) return "a private Postfix needs root";
  return undefined;
}

export class PrivatePostfix implements AsyncDisposable {
  readonly port: number;
  readonly masterPid: number;
  readonly #dir: string;

  constructor(port: number, dir: string, masterPid: number) {
    this.port = port;
    this.masterPid = masterPid;
    this.#dir = dir;
  }

  /**
   * Starts it in a directory that does not exist yet, below one that any user may enter.
   *
   * @param settings more lines of main.cf; they win over those that are always there
   */
  static async start(
    dir: string,
    sinkPort: number,
    settings: Readonly<Record<string, string>> = {},
  ): Promise<PrivatePostfix> {
    const port = await freePort();
    await mkdir(dir, { recursive: true });
    for (const name of ["etc", "spool", "data", "log"]) await mkdir(join(dir, name));
    await run("chown", ["postfix", join(dir, "data")]);
    await chmod(dir, 0o755);
    await writeFile(join(dir, "etc", "main.cf"), mainCf(dir, sinkPort, settings));
    await writeFile(join(dir, "etc", "master.cf"), masterCf(port));
    const { code, stdout, stderr } = await run(postfix, ["-c", join(dir, "etc"), "start"]);
    if (code !== 0) throw new Error(`postfix start ended with ${code}: ${stdout}${stderr}`);
    await waitFor(
      () =>
        SmtpClient.open(port).then(
          (client) => {
            client[Symbol.dispose]();
            return true;
          },
          () => false,
        ),
      { everyMs: 50, describe: "Postfix to answer" },
    );
    const pid = await readFile(join(dir, "spool", "pid", "master.pid"), "utf8");
    return new PrivatePostfix(port, dir, Number(pid.trim()));
  }

  /** Everything it logged so far. */
  async readLog(): Promise<string> {
    return await readFile(join(this.#dir, "log", "maillog"), "utf8");
  }

  /** Files in its queues. */
  async queued(): Promise<number> {
    const queues = ["maildrop", "incoming", "active", "deferred", "hold"];
    const counts = await Promise.all(
      queues.map(async (queue) => {
        const entries = await readdir(join(this.#dir, "spool", queue), {
          recursive: true,
          withFileTypes: true,
        });
        return entries.filter((entry) => entry.isFile()).length;
      }),
    );
    return counts.reduce((total, count) => total + count, 0);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await run(postfix, ["-c", join(this.#dir, "etc"), "stop"]);
    await rm(this.#dir, { recursive: true, force: true });
  }
}

function mainCf(dir: string, sinkPort: number, more: Readonly<Record<string, string>>): string {
  const settings = {
    compatibility_level: "3.6",
    config_directory: join(dir, "etc"),
    queue_directory: join(dir, "spool"),
    data_directory: join(dir, "data"),
    myhostname: "relay.example.com",
    mydestination: "",
    mynetworks: "127.0.0.0/8",
    inet_interfaces: "127.0.0.1",
    inet_protocols: "ipv4",
    smtpd_relay_restrictions: "permit_mynetworks, reject",
    local_transport: "error:no local delivery",
    alias_maps: "",
    alias_database: "",
    smtp_tls_security_level: "none",
    smtpd_tls_security_level: "none",
    relayhost: `[127.0.0.1]:${sinkPort}`,
    maillog_file: join(dir, "log", "maillog"),
    maillog_file_prefixes: dir,
    ...more,
  };
  const lines = Object.entries(settings).map(([name, value]) => `${name} = ${value}\n`);
  return lines.join("");
}

/** The services of the package's master.cf that a relay needs, without chroot. */
function masterCf(port: number): string {
  return `\
127.0.0.1:${port} inet n - n - - smtpd
pickup    unix  n - n 60 1 pickup
cleanup   unix  n - n - 0 cleanup
qmgr      unix  n - n 300 1 qmgr
rewrite   unix  - - n - - trivial-rewrite
bounce    unix  - - n - 0 bounce
defer     unix  - - n - 0 bounce
trace     unix  - - n - 0 bounce
verify    unix  - - n - 1 verify
flush     unix  n - n 1000? 0 flush
proxymap  unix  - - n - - proxymap
smtp      unix  - - n - - smtp
relay     unix  - - n - - smtp
showq     unix  n - n - - showq
error     unix  - - n - - error
retry     unix  - - n - - error
discard   unix  - - n - - discard
anvil     unix  - - n - 1 anvil
scache    unix  - - n - 1 scache
postlog   unix-dgram n - n - 1 postlogd
`;
}
