/**
 * Faults 27 and 28 at any byte: the connection to the next hop is cut at 50 random places of the dialogue, over both
 * directions, and the copies that arrive are counted.
 *
 * Each recipient gets exactly one, unless the cut fell after the server had the whole content and before we had its
 * reply: then nobody can know, and there is one more.
 */
import assert from "node:assert/strict";
import { randomInt } from "node:crypto";
import { describe, it } from "node:test";

import {
  FakeSmtpServer,
  seededRandom,
  SmtpClient,
  startPostmq,
  testIdOf,
  testMail,
  waitFor,
} from "@postmq/testing";
import type { SeededRandom, TestMail } from "@postmq/testing";

import { CuttingProxy } from "../support/cutting-proxy.ts";
import { transportMaps } from "../support/many-destinations.ts";
import { waitUntilDrained } from "../support/redis-probe.ts";

const cuts = 50;
/** The share of cuts near the end, where a byte decides about a copy; elsewhere all bytes are alike. */
const lastBytes = 60;
const cutsInLastBytes = 15;
const recipients = 3;

type Cut = {
  readonly offset: number;
  readonly domain: string;
  readonly proxy: CuttingProxy;
  readonly sink: FakeSmtpServer;
  readonly mail: TestMail;
};

describe("a connection that is cut at any byte", () => {
  it("27, 28: each recipient gets one copy, and one more only if nobody could know", async (context) => {
    const seed = Number(process.env["POSTMQ_TEST_SEED"] ?? randomInt(1_000_000));
    context.diagnostic(`seed ${seed} (POSTMQ_TEST_SEED repeats it)`);
    await using stack = new AsyncDisposableStack();
    const offsets = chooseOffsets(await measureDialogue(), seededRandom(seed));
    const all: readonly Cut[] = await Promise.all(
      offsets.map(async (offset, index) => {
        const sink = stack.use(await FakeSmtpServer.start());
        const proxy = stack.use(await CuttingProxy.start(sink.port, offset));
        const domain = `cut${String(index).padStart(2, "0")}.example.com`;
        return { offset, domain, proxy, sink, mail: mailTo(domain) };
      }),
    );
    const ports = new Map(all.map(({ domain, proxy }) => [domain, proxy.port]));
    await using system = await startPostmq({
      services: ["smtpd", "qmgr", "smtp-delivery", "bounce", "cleanup"],
      parameters: { ...quickRetries, transport_maps: transportMaps(ports) },
    });
    using client = await SmtpClient.open(system.smtpPort);
    for (const { mail } of all) assert.equal((await client.deliver(mail)).code, 250);
    client.send("QUIT\r\n");
    await waitFor(() => all.every((cut) => copiesOf(cut).every((copies) => copies > 0)), {
      timeoutMs: 60_000,
      describe: () => `all mail\n${system.lastLines()}`,
    });
    await waitUntilDrained(system.redis);

    const rows = all.map((cut) => ({ cut, expected: lawfulCopies(cut), copies: copiesOf(cut) }));
    console.log(rows.map(describeRow).join("\n"));
    for (const row of rows) {
      const wanted = Array.from({ length: recipients }, () => row.expected);
      assert.deepEqual(row.copies, wanted, `seed ${seed}: ${describeRow(row)}`);
    }
    assert.ok(
      all.every(({ proxy }) => proxy.isCut),
      "every connection is cut somewhere",
    );
    assert.doesNotMatch(system.logs, /status=bounced/);
  });
});

const quickRetries = {
  minimal_backoff_time: "1s",
  maximal_backoff_time: "1s",
  queue_run_delay: "1s",
};

function mailTo(domain: string): TestMail {
  const to = Array.from({ length: recipients }, (_, index) => `r${index}@${domain}`);
  return testMail({ to, body: "A few lines of text.\r\n.\r\n..\r\nThe end.\r\n" });
}

/** @returns the bytes up to and with the reply to the dot, both directions together */
async function measureDialogue(): Promise<number> {
  await using sink = await FakeSmtpServer.start();
  await using proxy = await CuttingProxy.start(sink.port, Infinity);
  const domain = "cut00.example.com";
  await using system = await startPostmq({
    services: ["smtpd", "qmgr", "smtp-delivery"],
    parameters: { transport_maps: transportMaps(new Map([[domain, proxy.port]])) },
  });
  using client = await SmtpClient.open(system.smtpPort);
  assert.equal((await client.deliver(mailTo(domain))).code, 250);
  await waitFor(() => sink.accepted.length === 1, { timeoutMs: 20_000 });
  const { toTarget, toClient } = proxy.passed;
  const quit = toTarget.indexOf("QUIT");
  return toClient.length + (quit < 0 ? toTarget.length : quit);
}

function chooseOffsets(lengthBytes: number, random: SeededRandom): readonly number[] {
  const offsets = Array.from({ length: cuts }, (_, index) =>
    random.between(index < cutsInLastBytes ? lengthBytes - lastBytes : 0, lengthBytes - 1),
  );
  return offsets.toSorted((a, b) => a - b);
}

/** What arrived with its dot, for each recipient. */
function copiesOf({ sink, mail }: Cut): readonly number[] {
  const copies = sink.messages.filter(({ content }) => testIdOf(content) === mail.id);
  return mail.to.map(
    (recipient) => copies.filter((copy) => copy.recipients.includes(recipient)).length,
  );
}

function lawfulCopies({ proxy }: Cut): number {
  return hadContent(proxy) && !wasAnswered(proxy) ? 2 : 1;
}

function hadContent({ passed }: CuttingProxy): boolean {
  return passed.toTarget.includes("\r\n.\r\n");
}

function wasAnswered({ passed }: CuttingProxy): boolean {
  return passed.toClient.includes("250 2.0.0 Ok: queued\r\n");
}

function describeRow(row: {
  readonly cut: Cut;
  readonly expected: number;
  readonly copies: readonly number[];
}): string {
  const { offset, proxy } = row.cut;
  const { toTarget, toClient } = proxy.passed;
  const last = (text: string) => JSON.stringify(text.slice(-20)).slice(1, -1).padStart(26);
  const copies = `${row.copies.join(" ")} of ${row.expected}`;
  return `${String(offset).padStart(5)}  we said …${last(toTarget)}  it said …${last(toClient)}  copies ${copies}`;
}
