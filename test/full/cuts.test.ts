/**
 * Faults 27 and 28 at any byte: the connection to the next hop is cut at 50 random places of the dialogue, over both
 * directions, and the copies that arrive are counted. In plain text, under TLS (from the first byte over the handshake to
 * the last record), and over a kept connection at its second and third message.
 *
 * Each recipient gets exactly one, unless the cut fell after the server had the whole content and before we had its
 * reply: then nobody can know, and there is one more. What the server had is for the server to say; whether its reply
 * passed is seen at the proxy, by the bytes that the server sent since it had the content.
 */
import assert from "node:assert/strict";
import { randomInt } from "node:crypto";
import { describe, it } from "node:test";
import type { TestContext } from "node:test";

import {
  FakeSmtpServer,
  seededRandom,
  SmtpClient,
  startPostmq,
  testCertificates,
  testIdOf,
  testMail,
  waitFor,
} from "@postmq/testing";
import { panic } from "@postmq/vocabulary";
import type { PostmqSystem, SeededRandom, TestMail } from "@postmq/testing";

import { CuttingProxy } from "../support/cutting-proxy.ts";
import { transportMaps } from "../support/many-destinations.ts";
import { waitUntilDrained } from "../support/redis-probe.ts";

const cuts = 50;
/** The share of cuts near the end of a message, where a byte decides about a copy; elsewhere all bytes are alike. */
const cutsInLastBytes = 15;
const recipients = 3;

/** How the mail goes. */
type Course = {
  readonly isUnderTls: boolean;
  /** Messages over one connection; the first of several is not cut. */
  readonly messages: number;
  /** The end of a message: its last line with the dot, and the reply. */
  readonly lastBytes: number;
  readonly parameters: Readonly<Record<string, string>>;
};

const plain: Course = { isUnderTls: false, messages: 1, lastBytes: 60, parameters: {} };
const underTls: Course = {
  isUnderTls: true,
  messages: 1,
  // A record is known when it is whole: the content's and that of the reply.
  lastBytes: 150,
  parameters: { smtp_tls_security_level: "encrypt" },
};
const kept: Course = {
  isUnderTls: false,
  messages: 3,
  lastBytes: 60,
  parameters: {
    smtp_connection_cache_destinations: "127.0.0.1",
    smtp_connection_cache_time_limit: "60s",
  },
};

/** A destination behind a proxy. */
type Site = {
  readonly domain: string;
  readonly proxy: CuttingProxy;
  readonly sink: FakeSmtpServer;
  readonly mails: readonly TestMail[];
  /** Of messages that the server had whole over the first connection, by their id. */
  readonly dots: Map<string, Dot>;
};

/** Places in the bytes of the first connection: where the content ends in ours, where the reply begins in the server's. */
type Dot = { readonly contentEnd: number; readonly replyAt: number };

/** A byte of the dialogue, and which message it belongs to. */
type Place = { readonly offset: number; readonly at: number };

type Cut = Site & Place;

describe("a connection that is cut at any byte", () => {
  it("27, 28: each recipient gets one copy, and one more only if nobody could know", async (context) => {
    await cutEverywhere(context, plain);
  });

  it("27, 28: under TLS too, whichever byte of the handshake or of a record it is", async (context) => {
    await cutEverywhere(context, underTls);
  });

  it("27, 28: over a kept connection too, at its second or third message", async (context) => {
    await cutEverywhere(context, kept);
  });
});

async function cutEverywhere(context: TestContext, course: Course): Promise<void> {
  const seed = Number(process.env["POSTMQ_TEST_SEED"] ?? randomInt(1_000_000));
  context.diagnostic(`seed ${seed} (POSTMQ_TEST_SEED repeats it)`);
  await using stack = new AsyncDisposableStack();
  const places = choosePlaces(await measureEnds(course), course, seededRandom(seed));
  const all: readonly Cut[] = await Promise.all(
    places.map(async (place, index) => ({
      ...place,
      ...(await startSite(stack, course, { index, offset: place.offset })),
    })),
  );
  await using system = await startSystem(course, all);
  using client = await SmtpClient.open(system.smtpPort);
  for (let at = 0; at < course.messages; at += 1) await deliverAll(at, all, client, system);
  client.send("QUIT\r\n");

  // Connections that are still kept say QUIT: a cut may fall there when a queue id is shorter than the measured one.
  assert.deepEqual(await system.stop(), []);

  const rows = all.flatMap((cut) => cut.mails.map((_, at) => rowOf(course, cut, at)));
  console.log(
    rows
      .filter(({ isHit }) => isHit)
      .map(describeRow)
      .join("\n"),
  );
  for (const row of rows) {
    const wanted = Array.from({ length: recipients }, () => row.expected);
    assert.deepEqual(row.copies, wanted, `seed ${seed}: ${describeRow(row)}`);
  }
  for (const { at, offset, proxy, dots } of all) {
    assert.ok(proxy.isCut, `seed ${seed}: ${offset} is no place in the dialogue`);
    assert.ok(dots.size >= at, `seed ${seed}: the connection of ${offset} was not kept`);
  }
  assert.doesNotMatch(system.logs, /status=bounced/);
}

const quickRetries = {
  minimal_backoff_time: "1s",
  maximal_backoff_time: "1s",
  queue_run_delay: "1s",
};

function startSystem(course: Course, sites: readonly Site[]): Promise<PostmqSystem> {
  const ports = new Map(sites.map(({ domain, proxy }) => [domain, proxy.port]));
  return startPostmq({
    services: ["smtpd", "qmgr", "smtp-delivery", "bounce", "cleanup"],
    parameters: { ...quickRetries, ...course.parameters, transport_maps: transportMaps(ports) },
  });
}

async function startSite(
  stack: AsyncDisposableStack,
  course: Course,
  { index, offset }: { readonly index: number; readonly offset: number },
): Promise<Site> {
  const sink = stack.use(
    await FakeSmtpServer.start(course.isUnderTls ? { tls: testCertificates().make() } : {}),
  );
  const proxy = stack.use(await CuttingProxy.start(sink.port, offset));
  const domain = `cut${String(index).padStart(2, "0")}.example.com`;
  const mails = Array.from({ length: course.messages }, () => mailTo(domain));
  const dots = new Map<string, Dot>();
  sink.decide = ({ stage, connection, content }) => {
    // All that the server said before has passed: we waited for its reply to DATA.
    const { toTarget, toClient } = proxy.passed;
    const dot = { contentEnd: toTarget.length, replyAt: toClient.length };
    if (stage === "dot" && connection === 1) dots.set(testIdOf(content) ?? "", dot);
    return undefined;
  };
  return { domain, proxy, sink, mails, dots };
}

function mailTo(domain: string): TestMail {
  const to = Array.from({ length: recipients }, (_, index) => `r${index}@${domain}`);
  return testMail({ to, body: "A few lines of text.\r\n.\r\n..\r\nThe end.\r\n" });
}

/** The nth message to each site. Over when nothing of it is in any queue. */
async function deliverAll(
  at: number,
  sites: readonly Site[],
  client: SmtpClient,
  system: PostmqSystem,
): Promise<void> {
  const mails = sites.map((site) => ({ site, mail: mailAt(site, at) }));
  for (const { mail } of mails) assert.equal((await client.deliver(mail)).code, 250);
  await waitFor(
    () => mails.every(({ site, mail }) => copiesOf(site, mail).every((copies) => copies > 0)),
    { describe: () => `all mail\n${system.lastLines()}` },
  );
  await waitUntilDrained(system.redis);
}

function mailAt({ mails }: Site, at: number): TestMail {
  const mail = mails[at];
  assert.ok(mail !== undefined);
  return mail;
}

/** @returns for each message, the bytes up to and with the reply to its dot, both directions together */
async function measureEnds(course: Course): Promise<readonly number[]> {
  await using stack = new AsyncDisposableStack();
  const site = await startSite(stack, course, { index: 0, offset: Infinity });
  await using system = await startSystem(course, [site]);
  using client = await SmtpClient.open(system.smtpPort);
  for (let at = 0; at < course.messages; at += 1) await deliverAll(at, [site], client, system);
  return site.mails.map(({ id }) => {
    const dot = site.dots.get(id);
    assert.ok(dot !== undefined, "one connection for all of them");
    const end = replyEnd(course, site.proxy.passed.toClient, dot.replyAt);
    assert.ok(end !== undefined);
    return dot.contentEnd + end;
  });
}

function choosePlaces(
  ends: readonly number[],
  { lastBytes }: Course,
  random: SeededRandom,
): readonly Place[] {
  const spans = ends.map((end, at) => ({ at, from: ends[at - 1] ?? 1, to: end - 1 }));
  const wanted = spans.length === 1 ? spans : spans.slice(1);
  const places = Array.from({ length: cuts }, (_, index): Place => {
    const { at, from, to } = wanted[index % wanted.length] ?? panic("no message is cut");
    const isNearEnd = index < cutsInLastBytes;
    return { at, offset: random.between(isNearEnd ? to - lastBytes : from, to) };
  });
  return places.toSorted((a, b) => a.offset - b.offset);
}

/** What arrived with its dot, for each recipient. */
function copiesOf({ sink }: Site, mail: TestMail): readonly number[] {
  const copies = sink.messages.filter(({ content }) => testIdOf(content) === mail.id);
  return mail.to.map(
    (recipient) => copies.filter((copy) => copy.recipients.includes(recipient)).length,
  );
}

/** Two if the server had it all over the connection that was cut, and its reply did not pass. */
function lawfulCopies(course: Course, { dots, proxy }: Site, mail: TestMail): number {
  const dot = dots.get(mail.id);
  if (dot === undefined) return 1;
  return replyEnd(course, proxy.passed.toClient, dot.replyAt) === undefined ? 2 : 1;
}

/** @returns where the reply that begins there ends; undefined if it did not pass whole */
function replyEnd({ isUnderTls }: Course, toClient: string, at: number): number | undefined {
  if (!isUnderTls) {
    const lineEnd = toClient.indexOf("\n", at);
    return lineEnd < 0 ? undefined : lineEnd + 1;
  }
  // A record: its type, its version, its length in two bytes (RFC 8446 §5.1).
  if (toClient.length < at + recordHeadBytes) return undefined;
  const length = Buffer.from(toClient.slice(at + 3, at + 5), "latin1").readUInt16BE();
  const end = at + recordHeadBytes + length;
  return toClient.length < end ? undefined : end;
}

const recordHeadBytes = 5;

type Row = {
  readonly cut: Cut;
  readonly isHit: boolean;
  readonly expected: number;
  readonly copies: readonly number[];
};

function rowOf(course: Course, cut: Cut, at: number): Row {
  const mail = mailAt(cut, at);
  const expected = lawfulCopies(course, cut, mail);
  return { cut, isHit: at === cut.at, expected, copies: copiesOf(cut, mail) };
}

function describeRow({ cut, expected, copies }: Row): string {
  const { toTarget, toClient } = cut.proxy.passed;
  const last = (text: string) => JSON.stringify(printable(text.slice(-20))).slice(1, -1);
  const shown = (text: string) => last(text).padStart(26);
  return `${String(cut.offset).padStart(5)}  we said …${shown(toTarget)}  it said …${shown(toClient)}  copies ${copies.join(" ")} of ${expected}`;
}

function printable(text: string): string {
  return text.replaceAll(/[^\x20-\x7e\r\n]/g, ".");
}
