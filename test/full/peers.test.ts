/**
 * Mail servers that are not ours as the next hop: what they take from us is what was handed in, byte for byte, once
 * for each recipient; whom they refuse is reported.
 */
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { after, before, describe, it } from "node:test";

import {
  Ledger,
  ownRootDenied,
  readReport,
  SmtpClient,
  startPostmq,
  testIdOf,
  testMail,
  waitFor,
} from "@postmq/testing";
import type { PostmqSystem, TestMail } from "@postmq/testing";

import {
  startAiosmtpdPeer,
  startEximPeer,
  startOpensmtpdPeer,
  startPostfixPeer,
  startSmtpSinkPeer,
} from "../support/foreign-peers.ts";
import type { Arrived, ForeignPeer } from "../support/foreign-peers.ts";
import { transportMaps } from "../support/many-destinations.ts";
import { waitUntilDrained } from "../support/redis-probe.ts";

const longestLine = 998;

const peers = {
  "postfix.example.com": startPostfixPeer,
  "exim.example.com": startEximPeer,
  "opensmtpd.example.com": startOpensmtpdPeer,
  "aiosmtpd.example.com": startAiosmtpdPeer,
  "sink.example.com": () => startSmtpSinkPeer([]),
  "plain-sink.example.com": () => startSmtpSinkPeer(["-p", "-e"]),
  "seven-bit.example.com": () => startSmtpSinkPeer(["-8"]),
} as const;
type PeerDomain = keyof typeof peers;

/** Mail systems that want fixed places run only where a process may have a file system of its own. */
const denied = ownRootDenied();
const needsOwnRoot: readonly string[] = ["exim.example.com", "opensmtpd.example.com"];
const inOwnRoot = { skip: denied ?? false };

describe("a foreign next hop", () => {
  const stack = new AsyncDisposableStack();
  const running = new Map<string, ForeignPeer>();
  let system: PostmqSystem;

  before(async () => {
    for (const [domain, start] of Object.entries(peers)) {
      if (denied !== undefined && needsOwnRoot.includes(domain)) continue;
      running.set(domain, stack.use(await start()));
    }
    const ports = new Map([...running].map(([domain, { port }]) => [domain, port]));
    const parameters = { transport_maps: transportMaps(ports), minimal_backoff_time: "1s" };
    const services = ["smtpd", "cleanup", "qmgr", "smtp-delivery", "bounce"] as const;
    system = stack.use(await startPostmq({ services, parameters }));
  });

  after(() => stack.disposeAsync());

  /** Hands all in, waits for the end of all, and settles the account. @returns what arrived. */
  async function relay(
    domain: PeerDomain,
    mails: readonly TestMail[],
  ): Promise<readonly Arrived[]> {
    const peer = running.get(domain) ?? assert.fail(domain);
    using client = await SmtpClient.open(system.smtpPort);
    for (const mail of mails) assert.equal((await client.deliver(mail)).code, 250);
    client.send("QUIT\r\n");
    await waitFor(async () => account(mails, await peer.arrived()).lost.length === 0, {
      everyMs: 100,
      describe: () => `all mail\n${system.lastLines()}\n${peer.log().slice(-2000)}`,
    });
    await waitUntilDrained(system.redis);
    const arrived = await peer.arrived();
    const { lost, duplicates, contradictions } = account(mails, arrived);
    assert.deepEqual({ lost, duplicates: [...duplicates], contradictions }, nothingWrong);
    return arrived;
  }

  /** As `relay`, and all contents are what was handed in. */
  async function relayUnchanged(domain: PeerDomain, mails: readonly TestMail[]): Promise<void> {
    const arrived = await relay(domain, mails);
    for (const mail of mails) {
      for (const { content } of arrived.filter((each) => isOf(each, mail))) {
        const own = content.subarray(content.indexOf("From: <"));
        assert.equal(own.toString("latin1"), withBrokenLines(mail.content).toString("latin1"));
      }
    }
  }

  it("takes everything once and unchanged: Postfix", async () => {
    const write = writer("postfix.example.com");
    await relayUnchanged("postfix.example.com", [
      ...plainMail(write),
      ...eightBitMail(write),
      refusedMail(write),
      quotedMail(write),
    ]);
  });

  it("takes everything once and unchanged: Exim", inOwnRoot, async () => {
    const write = writer("exim.example.com");
    await relayUnchanged("exim.example.com", [
      ...plainMail(write),
      ...eightBitMail(write),
      refusedMail(write),
      quotedMail(write),
    ]);
  });

  it("takes everything once and unchanged: OpenSMTPD", inOwnRoot, async () => {
    const write = writer("opensmtpd.example.com");
    await relayUnchanged("opensmtpd.example.com", [
      ...plainMail(write),
      ...eightBitMail(write),
      refusedMail(write),
    ]);
  });

  it("takes everything once and unchanged: aiosmtpd", async () => {
    const write = writer("aiosmtpd.example.com");
    await relayUnchanged("aiosmtpd.example.com", [
      ...plainMail(write),
      ...eightBitMail(write),
      refusedMail(write),
      quotedMail(write),
    ]);
  });

  it("takes everything once and unchanged: smtp-sink", async () => {
    const write = writer("sink.example.com");
    await relayUnchanged("sink.example.com", [...plainMail(write), ...eightBitMail(write)]);
  });

  it("takes everything once and unchanged: smtp-sink without pipelining and ESMTP", async () => {
    await relayUnchanged("plain-sink.example.com", plainMail(writer("plain-sink.example.com")));
  });

  it("D17 without 8BITMIME gets quoted-printable that says what was written", async () => {
    const write = writer("seven-bit.example.com");
    const mails = eightBitMail(write);
    const arrived = await relay("seven-bit.example.com", [...plainMail(write), ...mails]);
    for (const mail of mails) {
      const { content } = arrived.find((each) => isOf(each, mail)) ?? assert.fail("not there");
      assert.ok(
        content.every((byte) => byte < 0x80),
        "8-bit content without 8BITMIME",
      );
      const text = content.toString("latin1");
      assert.match(text, /^Content-Transfer-Encoding: quoted-printable\r$/m);
      const written = bodyText(mail.content.toString("latin1"));
      assert.equal(fromQuotedPrintable(bodyText(text)), written);
    }
  });
});

const nothingWrong = { lost: [], duplicates: [], contradictions: [] };

function account(mails: readonly TestMail[], arrived: readonly Arrived[]) {
  const ledger = new Ledger();
  for (const { id, to } of mails) for (const recipient of to) ledger.accept(id, recipient);
  for (const { content, recipients } of arrived) {
    const report = readReport(content);
    const enter = report === undefined ? "deliver" : "bounce";
    const id = report?.id ?? testIdOf(content) ?? "(no id)";
    for (const recipient of report?.recipients ?? recipients) ledger[enter](id, recipient);
  }
  return ledger.report();
}

function isOf({ content }: Arrived, mail: TestMail): boolean {
  return readReport(content) === undefined && testIdOf(content) === mail.id;
}

const date = "Date: Sun, 22 Nov 2026 07:00:00 +0000\r\n";

type Written = {
  /** Local parts. */
  readonly to?: readonly string[];
  readonly body: Buffer | string;
  readonly headers?: string;
};
type Write = (written: Written) => TestMail;

/** Mail from and to that domain, with all headers that others would add if they were missing. */
function writer(domain: string): Write {
  return ({ to = ["one"], body, headers = "" }) => {
    const id = randomUUID();
    return testMail({
      id,
      from: `sender@${domain}`,
      to: to.map((local) => `${local}@${domain}`),
      headers: `${date}Message-ID: <${id}@src.example.com>\r\n${headers}`,
      body,
    });
  };
}

function plainMail(write: Write): readonly TestMail[] {
  const many = Array.from({ length: 120 }, (_, index) => `r${index}`);
  const folded = "X-Folded: one\r\n\ttwo\r\n  three\r\nx-odd-CASE:no space\r\n";
  const long = `${"x".repeat(longestLine)}\r\n${"y".repeat(5000)}\r\n.${"z".repeat(2000)}\r\n`;
  const line = "A line of sixty characters or so, as most mail is made of.\r\n";
  return [
    write({ body: "Seven bits.\r\n\r\nAnd an empty line.\r\n\r\n" }),
    write({ body: "" }),
    write({ body: ".\r\n..\r\n.dot\r\n...\r\ndot.\r\n.\r\n" }),
    write({ body: "\r\n\r\n.\r\n\r\n" }),
    write({ headers: folded, body: "Folded.\r\n" }),
    write({ body: long }),
    write({ body: line.repeat(17_500) }),
    write({ to: many, body: "To many.\r\n" }),
    write({ to: ["Odd.Case+tag"], body: "Odd.\r\n" }),
  ];
}

const mime = (charset: string) =>
  `MIME-Version: 1.0\r\nContent-Type: text/plain; charset=${charset}\r\nContent-Transfer-Encoding: 8bit\r\n`;

function eightBitMail(write: Write): readonly TestMail[] {
  const latin1 = Buffer.from("caf\xe9 \xff\xfe\x80 \r\n", "latin1");
  return [
    write({ headers: mime("utf-8"), body: "Grüße, Жар-птица, 漢字 = ok\r\n.ü\r\n" }),
    write({ headers: mime("iso-8859-1"), body: latin1 }),
  ];
}

/** OpenSMTPD takes no such address. */
function quotedMail(write: Write): TestMail {
  return write({ to: ['"quoted local"'], body: "Odd.\r\n" });
}

function refusedMail(write: Write): TestMail {
  return write({ to: ["yes1", "nobody", "yes2"], body: "Not for everybody.\r\n" });
}

/** D19: the space that begins a further piece counts to its length. */
function withBrokenLines(content: Buffer): Buffer {
  const lines = content.toString("latin1").split("\r\n");
  return Buffer.from(lines.map(broken).join("\r\n"), "latin1");
}

function broken(line: string): string {
  const rest = line.slice(longestLine).match(new RegExp(`.{1,${longestLine - 1}}`, "g")) ?? [];
  return [line.slice(0, longestLine), ...rest].join("\r\n ");
}

function bodyText(message: string): string {
  return message.slice(message.indexOf("\r\n\r\n") + 4);
}

function fromQuotedPrintable(text: string): string {
  return text
    .replaceAll(/[ \t]+(?=\r\n)/g, "")
    .replaceAll("=\r\n", "")
    .replaceAll(/=([0-9A-F]{2})/g, (_, hex: string) =>
      String.fromCharCode(Number.parseInt(hex, 16)),
    );
}
