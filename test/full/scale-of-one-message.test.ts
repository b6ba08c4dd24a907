/**
 * Fault 41: one message to 100 000 recipients, beside a full active queue, while small mail for others flows.
 *
 * Eight destinations accept connections and say nothing, so that what waits for them stays in active. They are asked
 * to go on at the end, and the account of all mail is settled.
 */
import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { FakeSmtpServer, startPostmq, submitJson, waitFor } from "@postmq/testing";
import type { PostmqSystem } from "@postmq/testing";

import { addressesAt, assertEachOnce, countCopies, flood } from "../support/flood.ts";
import { GatedSink } from "../support/gated-sink.ts";
import { Highest, pssMegabytes, readMetric } from "../support/gauges.ts";
import { assertPrompt, describeDelays, SmallMail } from "../support/small-mail.ts";
import { transportMaps } from "../support/many-destinations.ts";
import { waitUntilDrained } from "../support/redis-probe.ts";

const bigRecipients = 100_000;
const bigDomains = 500;
/** Some places are left for the big message and for small mail: a full active queue takes nothing in (S2). */
const waitingMessages = 19_900;
const silentDestinations = 8;
const mostMegabytes = 400;

const silentDomains = Array.from(
  { length: silentDestinations },
  (_, n) => `silent${n}.example.com`,
);
const waiting = silentDomains.flatMap((domain) =>
  addressesAt(domain, Math.ceil(waitingMessages / silentDestinations)),
);
const bigList = Array.from({ length: bigDomains }, (_, n) => `b${n}.example.com`).flatMap(
  (domain) => addressesAt(domain, bigRecipients / bigDomains),
);

async function sendBig(system: PostmqSystem): Promise<void> {
  const answer = await submitJson(system.submissionUrl, {
    mail_from: "sender@src.example.com",
    rcpt_to: bigList,
    content: {
      from: "sender@src.example.com",
      to: ["list@src.example.com"],
      subject: "to all",
      text: "x",
    },
  });
  assert.equal(answer.status, 202, JSON.stringify(answer.body).slice(0, 500));
}

const activeMessages = (system: PostmqSystem) =>
  readMetric(system.metricsUrl("qmgr"), "postmq_qmgr_active_messages");

describe("fault 41: one message to 100 000 recipients", () => {
  it("arrives whole, in bounded memory, and delays no other mail", async (context) => {
    await using stack = new AsyncDisposableStack();
    const sinkFor = async () => stack.use(await FakeSmtpServer.start({ keepsContent: false }));
    const silent = await Promise.all(
      silentDomains.map(async () => stack.use(await GatedSink.start())),
    );
    for (const gated of silent) gated.holdAt("greeting");
    const [bigSink, smallSink] = await Promise.all([sinkFor(), sinkFor()]);
    const ports = new Map(silentDomains.map((domain, n) => [domain, silent[n]?.server.port ?? 0]));
    const system = stack.use(
      await startPostmq({
        parameters: {
          relayhost: bigSink.relayhost,
          transport_maps: transportMaps(ports.set("small.example.com", smallSink.port)),
          submission_recipient_limit: String(bigRecipients),
          // More than the silent destinations hold for ever.
          smtp_delivery_concurrency: "100",
          // And longer than all of this takes: they shall not be found dead.
          smtp_helo_timeout: "1h",
        },
      }),
    );
    const idleMb = await pssMegabytes(system.service("qmgr").pid);
    const pss = new Highest(() => pssMegabytes(system.service("qmgr").pid));

    const floodedMs = Date.now();
    await flood(system.smtpPort, waiting);
    await waitFor(async () => (await activeMessages(system)) >= waiting.length, {
      timeoutMs: 120_000,
      everyMs: 200,
      describe: () => `active to fill\n${system.lastLines()}`,
    });
    context.diagnostic(
      `active holds ${waiting.length} messages after ${Date.now() - floodedMs} ms; ` +
        `qmgr: ${Math.round(idleMb)} MB PSS at the start, ${Math.round(pss.value)} MB at most so far`,
    );

    const small = new SmallMail({
      smtpPort: system.smtpPort,
      sink: smallSink,
      domain: "small.example.com",
      everyMs: 50,
    });
    const aloneMs = Date.now();
    await waitFor(() => smallSink.messages.length >= 100, { timeoutMs: 180_000 });
    const delaysAlone = small.delaysMs(aloneMs);

    const bigMs = Date.now();
    await sendBig(system);
    const acceptedMs = Date.now() - bigMs;
    const arrived = () =>
      bigSink.messages.reduce((sum, { recipients }) => sum + recipients.length, 0);
    await waitFor(() => arrived() >= bigRecipients, {
      timeoutMs: 240_000,
      everyMs: 100,
      describe: () => `${arrived()} of ${bigRecipients} recipients\n${system.lastLines()}`,
    });
    const tookMs = Date.now() - bigMs;
    const delaysBeside = small.delaysMs(bigMs);
    const stillWaiting = await activeMessages(system);
    await small.stop();
    context.diagnostic(
      `the big message: 202 after ${acceptedMs} ms, all ${arrived()} recipients after ${tookMs} ms, ` +
        `in ${bigSink.messages.length} deliveries; ${stillWaiting} messages in active then`,
    );
    context.diagnostic(`small mail before it: ${describeDelays(delaysAlone)}`);
    context.diagnostic(`small mail beside it: ${describeDelays(delaysBeside)}`);

    for (const gated of silent) gated.open();
    await waitUntilDrained(system.redis, 600_000);
    const mostMb = await pss.stop();
    context.diagnostic(`qmgr: ${Math.round(mostMb)} MB PSS at most`);

    const copies = countCopies([bigSink, smallSink, ...silent.map(({ server }) => server)]);
    assertEachOnce([...bigList, ...waiting, ...small.recipients], copies);
    assert.ok(stillWaiting >= waiting.length, "active was not full while the big message went");
    assert.ok(mostMb < mostMegabytes, `${mostMb} MB`);
    assertPrompt(delaysBeside);
    assert.deepEqual(await system.stop(), []);
  });
});
