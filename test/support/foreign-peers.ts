/**
 * Mail servers that are not ours, each as a next hop of postmq: Postfix, Exim, OpenSMTPD, aiosmtpd, smtp-sink.
 *
 * The mail systems pass everything on to a sink of ours, so that what they made of it is seen as they send it; the
 * others keep what they get. The user `nobody` is refused at RCPT (smtp-sink can't do that).
 */
import assert from "node:assert/strict";
import { chmod, mkdir, mkdtemp, rm } from "node:fs/promises";
import { join } from "node:path";

import {
  Child,
  FakeSmtpServer,
  freePort,
  hasPostfixTools,
  ownRootObstacle,
  postfixObstacle,
  PrivatePostfix,
  SmtpClient,
  smtpSink,
  startInOwnRoot,
  waitFor,
} from "@postmq/testing";
import type { OwnRootOptions } from "@postmq/testing";

/** A message as it left the peer, or as the peer kept it. */
export type Arrived = {
  readonly sender: string;
  readonly recipients: readonly string[];
  /** Line ends are CRLF. */
  readonly content: Buffer;
};

export type ForeignPeer = AsyncDisposable & {
  readonly port: number;
  readonly arrived: () => Promise<readonly Arrived[]>;
  /** What it wrote, for the message of a failure. */
  readonly log: () => string;
};

const refused = "{nobody@postfix.example.com = REJECT unknown user}";

export async function startPostfixPeer(): Promise<ForeignPeer> {
  assert.equal(postfixObstacle(), undefined);
  await using stack = new AsyncDisposableStack();
  const sink = stack.use(await FakeSmtpServer.start());
  const directory = await ownDirectory(stack);
  const postfix = stack.use(
    await PrivatePostfix.start(join(directory, "postfix"), sink.port, {
      smtpd_recipient_restrictions: `check_recipient_access inline:{${refused}}, permit_mynetworks, reject`,
    }),
  );
  return passingOn(stack, { port: postfix.port, sink, log: () => "" });
}

export async function startEximPeer(): Promise<ForeignPeer> {
  return await startPassingOn(({ port, sinkPort, directory }) => ({
    peer: "exim",
    directory,
    users: ["Debian-exim"],
    files: { "/etc/exim4/exim4.conf": eximConfiguration(port, sinkPort) },
    prepare: [
      "chown Debian-exim /peer",
      "mkdir -p /var/spool/exim4 /var/log/exim4",
      "chown Debian-exim /var/spool/exim4",
    ],
    command: ["/usr/sbin/exim4", "-bdf", "-q1m"],
  }));
}

export async function startOpensmtpdPeer(): Promise<ForeignPeer> {
  return await startPassingOn(({ port, sinkPort, directory }) => ({
    peer: "opensmtpd",
    directory,
    users: ["opensmtpd", "opensmtpq"],
    files: {
      "/etc/mailname": "opensmtpd.example.com\n",
      "/etc/smtpd.conf": opensmtpdConfiguration(port, sinkPort),
    },
    prepare: [
      "mkdir -p /var/lib/opensmtpd/empty /var/spool/smtpd /run",
      "chmod 711 /var/spool/smtpd",
    ],
    command: ["/usr/sbin/smtpd", "-d"],
  }));
}

export async function startAiosmtpdPeer(): Promise<ForeignPeer> {
  const port = await freePort();
  const child = new Child("/usr/bin/python3", ["-c", aiosmtpdProgram, String(port)]);
  const arrived = async () => {
    const lines = child.stdout.split("\n").slice(0, -1);
    return lines.map((line) => {
      const [sender = "", recipients = "", content = ""] = line.split("\t");
      return { sender, recipients: recipients.split(","), content: Buffer.from(content, "base64") };
    });
  };
  await untilItAnswers(port, child);
  const log = () => child.stderr;
  return { port, arrived, log, [Symbol.asyncDispose]: () => child.kill9() };
}

/** @param args more options, e.g. -8: don't offer 8BITMIME */
export async function startSmtpSinkPeer(args: readonly string[]): Promise<ForeignPeer> {
  assert.ok(hasPostfixTools(), "the system's package postfix is needed");
  const sink = await smtpSink({ dumps: true, args });
  const arrived = async () => {
    const dumped = await sink.dumped();
    return dumped.map(({ content, ...envelope }) => ({ ...envelope, content: withCrlf(content) }));
  };
  return {
    port: sink.port,
    arrived,
    log: () => "",
    [Symbol.asyncDispose]: () => sink[Symbol.asyncDispose](),
  };
}

type Place = { readonly port: number; readonly sinkPort: number; readonly directory: string };

async function startPassingOn(optionsFor: (place: Place) => OwnRootOptions): Promise<ForeignPeer> {
  await using stack = new AsyncDisposableStack();
  const sink = stack.use(await FakeSmtpServer.start());
  const directory = join(await ownDirectory(stack), "own");
  await mkdir(directory);
  const port = await freePort();
  const options = optionsFor({ port, sinkPort: sink.port, directory });
  assert.equal(ownRootObstacle(options.peer), undefined);
  const { child } = stack.use(await startInOwnRoot(options));
  await untilItAnswers(port, child);
  return passingOn(stack, { port, sink, log: () => child.stdout + child.stderr });
}

/** A directory that any user may enter. */
async function ownDirectory(stack: AsyncDisposableStack): Promise<string> {
  const directory = await mkdtemp("/var/tmp/postmq-peer-");
  stack.defer(() => rm(directory, { recursive: true, force: true }));
  await chmod(directory, 0o755);
  return directory;
}

function passingOn(
  stack: AsyncDisposableStack,
  parts: { readonly port: number; readonly sink: FakeSmtpServer; readonly log: () => string },
): ForeignPeer {
  const owned = stack.move();
  return {
    port: parts.port,
    arrived: async () => parts.sink.accepted,
    log: parts.log,
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

async function untilItAnswers(port: number, child: Child): Promise<void> {
  const answers = () =>
    SmtpClient.open(port).then(
      (client) => {
        client[Symbol.dispose]();
        return true;
      },
      () => false,
    );
  await waitFor(
    async () => {
      if (!child.isRunning)
        throw new Error(`${child.command} ended: ${child.stdout}${child.stderr}`);
      return await answers();
    },
    { everyMs: 50, describe: () => `an answer: ${child.stdout}${child.stderr}` },
  );
}

function withCrlf(content: Buffer): Buffer {
  return Buffer.from(content.toString("latin1").replaceAll("\n", "\r\n"), "latin1");
}

/** Source: exim's spec.txt, chapters 14, 40, 20, 30. */
function eximConfiguration(port: number, sinkPort: number): string {
  return `\
primary_hostname = exim.example.com
log_file_path = /peer/%slog
local_interfaces = 127.0.0.1
daemon_smtp_ports = ${port}
smtp_accept_max_per_connection = 0
tls_advertise_hosts =
acl_smtp_rcpt = rcpt
begin acl
rcpt:
  deny local_parts = ^nobody
       message = unknown user
  accept
begin routers
all:
  driver = manualroute
  transport = onward
  route_list = * 127.0.0.1
  self = send
begin transports
onward:
  driver = smtp
  port = ${sinkPort}
  allow_localhost
begin retry
* * F,2h,1s
`;
}

/** Source: smtpd.conf(5). */
function opensmtpdConfiguration(port: number, sinkPort: number): string {
  return `\
listen on 127.0.0.1 port ${port} hostname opensmtpd.example.com
action "onward" relay host smtp://127.0.0.1:${sinkPort}
match from any for rcpt-to regex "^nobody" reject
match from any for any action "onward"
`;
}

/** Prints a line for each message: sender, recipients, content in base64. Source: aiosmtpd's handler hooks. */
const aiosmtpdProgram = `
import asyncio, base64, sys
from aiosmtpd.smtp import SMTP

class Keeper:
    async def handle_RCPT(self, server, session, envelope, address, options):
        if address.startswith("nobody"):
            return "550 5.1.1 unknown user"
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 Ok"

    async def handle_DATA(self, server, session, envelope):
        content = base64.b64encode(envelope.original_content).decode()
        print(envelope.mail_from, ",".join(envelope.rcpt_tos), content, sep="\\t", flush=True)
        return "250 2.0.0 Ok"

async def serve():
    make = lambda: SMTP(Keeper(), hostname="aiosmtpd.example.com", enable_SMTPUTF8=True)
    server = await asyncio.get_running_loop().create_server(make, "127.0.0.1", int(sys.argv[1]))
    await server.serve_forever()

asyncio.run(serve())
`;
