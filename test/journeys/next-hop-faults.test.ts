/**
 * Faults 26 to 38 over real processes: next hops that refuse, limit and mislead, and what each message comes to.
 *
 * Each fault has a destination of its own at one system, so that all of them happen at the same time. Those that need
 * longer are in test/full (each-step, cuts, hanging-destinations).
 */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";

import {
  FakeDnsServer,
  FakeSmtpServer,
  readReport,
  sendMail,
  startPostmq,
  submitJson,
  testIdOf,
  testMail,
  waitFor,
} from "@postmq/testing";
import type { Decide, PostmqSystem, ReceivedMessage, TestMail } from "@postmq/testing";

import { deliveryLines } from "../support/delivery-log.ts";
import { transportMaps } from "../support/many-destinations.ts";

const author = "author@src.example.com";
const unknown = "550 5.1.1 unknown here";
const busy = "450 4.2.1 mailbox is busy";

const hop = (decide?: Decide, keywords?: readonly string[]) => ({ decide, keywords });

/** Decides at one stage, the first time that it is reached. */
function once(wanted: string, behaviour: ReturnType<Decide>): Decide {
  let isOver = false;
  return ({ stage }) => {
    if (stage !== wanted || isOver) return undefined;
    isOver = true;
    return behaviour;
  };
}

const greylistedMs = 1000;

/** Refuses each sender, recipient and client for a while from its first try on. */
function greylisting(): Decide {
  const firstMs = new Map<string, number>();
  return ({ stage, sender, recipient }) => {
    if (stage !== "rcpt") return undefined;
    const triple = `${sender} ${recipient}`;
    const since = firstMs.get(triple) ?? Date.now();
    firstMs.set(triple, since);
    return Date.now() - since < greylistedMs ? { reply: "450 4.7.1 greylisted" } : undefined;
  };
}

/** Busy recipients are busy once. */
function moody(): Decide {
  const asked = new Set<string>();
  return ({ stage, recipient }) => {
    if (stage !== "rcpt") return undefined;
    if (recipient.startsWith("no")) return { reply: unknown };
    if (!recipient.startsWith("busy") || asked.has(recipient)) return undefined;
    asked.add(recipient);
    return { reply: busy };
  };
}

const hops = {
  "src.example.com": hop(),
  "greeting421.example.com": hop(once("greeting", { reply: "421 4.3.2 not now" })),
  "rcpt421.example.com": hop(once("rcpt", { reply: "421 4.3.2 not now", cut: "after" })),
  "dot421.example.com": hop(once("dot", { reply: "421 4.3.2 not now", cut: "after" })),
  "reset.example.com": hop(once("rcpt", { cut: "after" })),
  "data451.example.com": hop(once("data", { reply: "451 4.3.0 no room" })),
  "data554.example.com": hop(once("data", { reply: "554 5.7.1 no" })),
  "five.example.com": hop(({ stage, recipients }) =>
    stage === "rcpt" && recipients.length >= 5
      ? { reply: "452 4.5.3 too many recipients" }
      : undefined,
  ),
  "mixed.example.com": hop(moody()),
  "grey.example.com": hop(greylisting()),
  "small.example.com": hop(undefined, ["PIPELINING", "SIZE 1000", "8BITMIME"]),
  "ascii.example.com": hop(undefined, ["PIPELINING", "8BITMIME"]),
} as const;
type HopDomain = keyof typeof hops;

describe("a next hop in trouble", { concurrency: true }, () => {
  const stack = new AsyncDisposableStack();
  const sinks = new Map<string, FakeSmtpServer>();
  let system: PostmqSystem;

  before(async () => {
    for (const [domain, { decide, keywords }] of Object.entries(hops)) {
      const options = {
        ...(decide === undefined ? {} : { decide }),
        ...(keywords === undefined ? {} : { keywords }),
      };
      sinks.set(domain, stack.use(await FakeSmtpServer.start(options)));
    }
    const dns = stack.use(
      await FakeDnsServer.start({
        zone: {
          "servfail.example.net": "SERVFAIL",
          "null.example.net": ["MX 0 ."],
          "us.example.net": ["MX 10 me.example.net"],
          "me.example.net": ["A 127.0.0.1"],
        },
      }),
    );
    const ports = new Map([...sinks].map(([domain, { port }]) => [domain, port]));
    system = stack.use(
      await startPostmq({
        services: ["pickup", "smtpd", "cleanup", "qmgr", "smtp-delivery", "bounce"],
        parameters: {
          transport_maps: transportMaps(ports),
          dns_servers: dns.address,
          minimal_backoff_time: "1s",
          maximal_backoff_time: "1s",
          queue_run_delay: "1s",
        },
      }),
    );
  });

  after(() => stack.disposeAsync());

  const sinkOf = (domain: HopDomain) => sinks.get(domain) ?? assert.fail(domain);

  async function handIn(
    to: readonly string[],
    more: Parameters<typeof testMail>[0] = {},
  ): Promise<TestMail> {
    const mail = testMail({ from: author, to, ...more });
    assert.equal((await sendMail(system.smtpPort, mail)).code, 250);
    return mail;
  }

  async function untilArrived(domain: HopDomain, copies = 1): Promise<readonly ReceivedMessage[]> {
    const sink = sinkOf(domain);
    await waitFor(() => sink.accepted.length >= copies, {
      describe: () => `mail to ${domain}\n${system.lastLines()}`,
    });
    return sink.accepted;
  }

  const reportsOn = ({ id }: TestMail) =>
    sinkOf("src.example.com").accepted.filter(({ content }) => testIdOf(content) === id);

  async function untilReported(mail: TestMail): Promise<ReceivedMessage> {
    return await waitFor(() => reportsOn(mail)[0], {
      describe: () => `a report to ${mail.to.join()}\n${system.lastLines()}`,
    });
  }

  const statusesAt = (domain: string) =>
    deliveryLines(system.logs, domain).map(({ status }) => status);

  async function isPutOffOnce(domain: HopDomain): Promise<void> {
    const mail = await handIn([`r@${domain}`]);
    await untilArrived(domain);
    await waitFor(() => statusesAt(domain).includes("sent"));
    assert.deepEqual(statusesAt(domain), ["deferred", "sent"]);
    assert.equal(sinkOf(domain).accepted.length, 1);
    assert.equal(reportsOn(mail).length, 0);
  }

  it("26: 421 at the greeting puts mail off", () => isPutOffOnce("greeting421.example.com"));
  it("26: 421 amid the session puts mail off", () => isPutOffOnce("rcpt421.example.com"));
  it("26: 421 after the dot puts mail off", () => isPutOffOnce("dot421.example.com"));
  it("28: a connection lost after RCPT puts mail off", () => isPutOffOnce("reset.example.com"));
  it("28: 4xx to DATA puts mail off", () => isPutOffOnce("data451.example.com"));

  it("28: 5xx to DATA sends mail back at once", async () => {
    const mail = await handIn(["r@data554.example.com"]);
    const report = await untilReported(mail);
    assert.match(report.content.toString(), /^Status: 5\.7\.1\r$/m);
    assert.deepEqual(statusesAt("data554.example.com"), ["bounced"]);
  });

  it("30: a server that takes five recipients a time gets all of them in one attempt", async () => {
    const to = Array.from({ length: 18 }, (_, index) => `r${index}@five.example.com`);
    await handIn(to);
    const messages = await untilArrived("five.example.com", 4);
    await waitFor(() => statusesAt("five.example.com").length === to.length);
    const arrived = messages.flatMap(({ recipients }) => recipients);
    assert.deepEqual(arrived.toSorted(), to.toSorted());
    assert.deepEqual(
      messages.map(({ recipients }) => recipients.length),
      [5, 5, 5, 3],
    );
    assert.deepEqual(new Set(statusesAt("five.example.com")), new Set(["sent"]));
  });

  it("31: recipients of one message have each their own outcome, and one report lists the failed", async () => {
    const at = (name: string) => `${name}@mixed.example.com`;
    const mail = await handIn(["yes1", "no1", "busy", "yes2", "no2"].map(at));
    await untilArrived("mixed.example.com", 2);
    const report = readReport((await untilReported(mail)).content);
    assert.deepEqual(report?.recipients, [at("no1"), at("no2")]);
    const arrived = sinkOf("mixed.example.com").accepted.flatMap(({ recipients }) => recipients);
    assert.deepEqual(arrived, [at("yes1"), at("yes2"), at("busy")]);
    assert.equal(reportsOn(mail).length, 1);
  });

  it("32: greylisted mail is delivered at the first retry after the delay", async () => {
    await handIn(["r@grey.example.com"]);
    const [message] = await untilArrived("grey.example.com");
    assert.deepEqual(message?.recipients, ["r@grey.example.com"]);
    await waitFor(() => statusesAt("grey.example.com").includes("sent"));
    const tries = statusesAt("grey.example.com");
    assert.deepEqual(new Set(tries.slice(0, -1)), new Set(["deferred"]));
    assert.ok(tries.length <= 3, `${tries.length} tries`);
  });

  it("33: mail larger than SIZE goes back at once, and is not sent at all", async () => {
    const mail = await handIn(["r@small.example.com"], { body: "A line.\r\n".repeat(300) });
    const report = await untilReported(mail);
    assert.match(report.content.toString(), /^Status: 5\.3\.4\r$/m);
    assert.deepEqual(statusesAt("small.example.com"), ["bounced"]);
    assert.equal(sinkOf("small.example.com").messages.length, 0);
  });

  it("34: an address in UTF-8 goes back where SMTPUTF8 is not offered", async () => {
    const mail = testMail({ from: author, to: ["ünder@ascii.example.com"] });
    const { status } = await submitJson(system.submissionUrl, {
      mail_from: mail.from,
      rcpt_to: mail.to,
      raw: mail.content.toString("base64"),
    });
    assert.equal(status, 202);
    await waitFor(() => statusesAt("ascii.example.com").length > 0, {
      describe: () => system.lastLines(),
    });
    assert.deepEqual(statusesAt("ascii.example.com"), ["bounced"]);
    assert.match(system.logs, /ascii\.example\.com>, .*dsn=5\.6\.7/);
    assert.equal(sinkOf("ascii.example.com").messages.length, 0);
  });

  it("36: mail waits while DNS is in trouble", async () => {
    await handIn(["r@servfail.example.net"]);
    await waitFor(
      () => /servfail\.example\.net>, .*dsn=4\.4\.3, status=deferred/.test(system.logs),
      {
        describe: () => system.lastLines(),
      },
    );
  });

  async function goesBackWith(recipient: string, status: string, headers = ""): Promise<void> {
    const mail = await handIn([recipient], { headers });
    const report = await untilReported(mail);
    const text = report.content.toString();
    assert.equal(/^Status: (\S+)\r$/m.exec(text)?.[1], status, text);
    assert.deepEqual(readReport(report.content)?.recipients, [recipient]);
  }

  it("37: a domain that does not exist", () => goesBackWith("r@nowhere.example.net", "5.4.4"));
  it("37: a domain with a null MX", () => goesBackWith("r@null.example.net", "5.1.10"));
  it("38: a message that has been through too many hops is refused at the door", async () => {
    const hopsBefore = "Received: from a.example by b.example; Sun, 22 Nov 2026 07:00:00 +0000\r\n";
    const reply = await sendMail(system.smtpPort, testMail({ headers: hopsBefore.repeat(120) }));
    assert.equal(reply.code, 554);
    assert.match(reply.text, /5\.4\.0 .*hops/);
  });

  it("38: a domain whose MX is this machine", () => goesBackWith("r@us.example.net", "5.4.6"));
});
