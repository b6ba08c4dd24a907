/** Foreign readers of our log: pflogsumm counts what happened, as the ledger of the test does; JSON has the same fields. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";

import {
  FakeSmtpServer,
  readReport,
  SmtpClient,
  startPostmq,
  submitRaw,
  testIdOf,
  testMail,
} from "@postmq/testing";
import type { Decide, PostmqSystem, TestMail } from "@postmq/testing";

import { hasPflogsumm, inOrderOfTime, summariseLog } from "../support/pflogsumm.ts";
import { waitUntilDrained } from "../support/redis-probe.ts";

const addresses = (count: number, name: string) =>
  Array.from({ length: count }, (_, index) => `${name}${index + 1}@dest.example.com`);

/** Unknown recipients are refused for good; each busy one is told to come back, the first time. */
function moody(): Decide {
  const asked = new Set<string>();
  return ({ stage, recipient }) => {
    if (stage !== "rcpt") return undefined;
    if (recipient.startsWith("nobody")) return { reply: "550 5.1.1 <nobody> unknown here" };
    if (!recipient.startsWith("busy") || asked.has(recipient)) return undefined;
    asked.add(recipient);
    return { reply: "450 4.2.1 mailbox is busy" };
  };
}

describe("pflogsumm", () => {
  it("counts in our log what the ledger counts", async () => {
    assert.ok(hasPflogsumm(), "the package pflogsumm is needed (scripts/setup --peers)");
    await using sink = await FakeSmtpServer.start({ decide: moody() });
    await using system = await startPostmq({
      parameters: {
        relayhost: sink.relayhost,
        syslog_name: "postfix",
        minimal_backoff_time: "1s",
        maximal_backoff_time: "1s",
        queue_run_delay: "1s",
        // Nobody waits for the scheduler.
        in_flow_delay: "0",
      },
    });
    // pflogsumm counts the bytes of a message whose line of smtpd it saw before qmgr's: smtpd writes it at the end of data,
    // when qmgr may have the message already.
    system.service("qmgr").freeze();
    const mails = [
      ...(await handInOverSmtp(system)),
      ...(await handInOverHttp(system)),
      await handInBySendmail(system),
    ];
    system.service("qmgr").thaw();
    await refuseOne(system);
    await waitUntilDrained(system.redis);
    assert.deepEqual(await system.stop(), []);

    const summary = await summariseLog(inOrderOfTime(system.logs));
    const expected = account(mails, sink);
    console.log(sideBySide(expected.totals, summary.totals));
    const counted = [...expected.totals.keys()].map((words) => [words, summary.totals.get(words)]);
    assert.deepEqual(counted, [...expected.totals], summary.text);
    assert.deepEqual(sorted(summary.bySender), sorted(expected.bySender), summary.text);
    assert.deepEqual(sorted(summary.byRecipient), sorted(expected.byRecipient), summary.text);
    assert.doesNotMatch(summary.text, /no size data|Fatal Errors: [^n]|Panics: [^n]/);
  });
});

describe("log_format = json", () => {
  it("makes an object of every line of every service, with the fields that the text line has", async () => {
    await using sink = await FakeSmtpServer.start({ decide: moody() });
    await using system = await startPostmq({
      parameters: {
        relayhost: sink.relayhost,
        log_format: "json",
        minimal_backoff_time: "1s",
        maximal_backoff_time: "1s",
        queue_run_delay: "1s",
      },
    });
    const [mail] = await handInOverHttp(system);
    await handInOverSmtp(system);
    await waitUntilDrained(system.redis);
    assert.deepEqual(await system.stop(), []);
    const lines = system.logs.split("\n").filter((line) => line !== "");
    const events = lines.map((line): Readonly<Record<string, unknown>> => JSON.parse(line));
    for (const { time, host, program, pid, level } of events) {
      assert.match(String(time), /^\d{4}-\d\d-\d\dT[\d:.]+Z$/);
      assert.match(String(program), /^postmq\/[a-z-]+$/);
      assert.deepEqual([typeof host, typeof pid, typeof level], ["string", "number", "string"]);
    }
    const sent = events.find(({ event, to }) => event === "delivery" && to === mail?.to[0]);
    assert.equal(sent?.["status"], "sent");
    assert.equal(sent["dsn"], "2.0.0");
    assert.equal(sent["reason"], "250 2.0.0 Ok: queued");
    assert.equal(sent["relay"], `127.0.0.1[127.0.0.1]:${sink.port}`);
    assert.equal(typeof sent["delay"], "number");
    assert.ok(Array.isArray(sent["delays"]) && sent["delays"].length === 4);
    const ofIt = events.filter(({ id }) => id === sent["id"]).map(({ event }) => event);
    const wanted = ["pickup", "message-id", "queue active", "delivery", "removed"];
    assert.deepEqual(
      wanted.filter((event) => !ofIt.includes(event)),
      [],
    );
  });
});

async function handInOverSmtp(system: PostmqSystem): Promise<readonly TestMail[]> {
  const mails = [
    ...addresses(5, "single").map((to) => testMail({ to: [to] })),
    testMail({ to: addresses(20, "many"), body: "A line that is sent.\r\n".repeat(500) }),
    testMail({ to: addresses(2, "busy"), from: "patient@other.example.com" }),
    testMail({
      to: [...addresses(2, "mixed"), ...addresses(3, "nobody"), "busy3@dest.example.com"],
    }),
    testMail({ to: ["nobody9@dest.example.com", "single9@dest.example.com"], from: "" }),
  ];
  using client = await SmtpClient.open(system.smtpPort);
  for (const mail of mails) assert.equal((await client.deliver(mail)).code, 250);
  client.send("QUIT\r\n");
  return mails;
}

async function handInOverHttp(system: PostmqSystem): Promise<readonly TestMail[]> {
  const mails = [
    testMail({ to: ["web1@web.example.com"], from: "app@web.example.com" }),
    testMail({
      to: ["web2@web.example.com", "busy4@web.example.com"],
      from: "app@web.example.com",
    }),
    testMail({
      to: ["nobody4@web.example.com", "web4@web.example.com"],
      from: "app@web.example.com",
    }),
  ];
  for (const mail of mails) {
    assert.equal((await submitRaw(system.submissionUrl, mail)).status, 202);
  }
  return mails;
}

async function handInBySendmail(system: PostmqSystem): Promise<TestMail> {
  const mail = testMail({ to: ["local1@dest.example.com"], from: "cron@host.example.com" });
  const { code, stderr } = await system.command("sendmail", ["-i", "-f", mail.from, ...mail.to], {
    input: mail.content,
  });
  assert.equal(code, 0, stderr);
  return mail;
}

async function refuseOne(system: PostmqSystem): Promise<void> {
  using client = await SmtpClient.open(system.smtpPort);
  assert.equal((await client.command("MAIL FROM:<a@src.example.com> SIZE=99999999")).code, 552);
  client.send("QUIT\r\n");
}

/** What came of it, as the two ends of the system saw it: what was handed in, and what the next hop got. */
function account(mails: readonly TestMail[], sink: FakeSmtpServer) {
  const isRefused = (recipient: string) => recipient.startsWith("nobody");
  const isBusy = (recipient: string) => recipient.startsWith("busy");
  const recipients = mails.flatMap(({ to }) => to);
  const copies = sink.accepted.flatMap((message) =>
    message.recipients.map((recipient) => ({ recipient, bytes: message.content.length })),
  );
  const sizes = new Map(
    sink.accepted
      .filter(({ content }) => readReport(content) === undefined)
      .map(({ content }) => [testIdOf(content), content.length]),
  );
  const bySender = countBy(mails.map(({ from }) => (from === "" ? "from=<>" : from)));
  const byRecipient = countBy(copies.map(({ recipient }) => recipient));
  const domains = (list: Iterable<string>) =>
    new Set([...list].map((address) => address.split("@")[1] ?? address)).size;
  const totals = new Map([
    ["received", mails.length],
    ["delivered", copies.length],
    ["deferred", mails.filter(({ to }) => to.some(isBusy)).length],
    ["deferrals", recipients.filter(isBusy).length],
    ["bounced", recipients.filter(isRefused).length],
    ["rejected", 1],
    ["bytes received", mails.reduce((sum, { id }) => sum + (sizes.get(id) ?? 0), 0)],
    ["bytes delivered", copies.reduce((sum, { bytes }) => sum + bytes, 0)],
    ["senders", bySender.size],
    ["sending hosts/domains", domains(bySender.keys())],
    ["recipients", byRecipient.size],
    ["recipient hosts/domains", domains(byRecipient.keys())],
  ]);
  return { totals, bySender, byRecipient };
}

function countBy(items: readonly string[]): ReadonlyMap<string, number> {
  const counts = new Map<string, number>();
  for (const item of items) counts.set(item, (counts.get(item) ?? 0) + 1);
  return counts;
}

function sorted(counts: ReadonlyMap<string, number>): readonly (readonly [string, number])[] {
  return [...counts].toSorted(([a], [b]) => a.localeCompare(b));
}

function sideBySide(
  ledger: ReadonlyMap<string, number>,
  pflogsumm: ReadonlyMap<string, number>,
): string {
  const rows = [...ledger].map(([words, count]) => [words, count, pflogsumm.get(words) ?? "-"]);
  return [["", "ledger", "pflogsumm"], ...rows]
    .map(
      ([words, a, b]) =>
        `${String(words).padEnd(24)}${String(a).padStart(9)}${String(b).padStart(11)}`,
    )
    .join("\n");
}
