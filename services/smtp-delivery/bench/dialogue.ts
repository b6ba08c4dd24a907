/**
 * Micro-benchmark: what the delivery dialogue alone costs, without a store, against Postfix's smtp-sink.
 *
 * Run: `npx node services/smtp-delivery/bench/dialogue.ts [messages] [concurrency] [requests per job] [bytes]`.
 * It prints microseconds of CPU (user and system) of this process per message: ours, ours with log lines, and nodemailer's own
 * `send` over the same kind of kept connection. Compare within one run; the machine drifts. Findings:
 * docs/decisions/004-delivery-dialogue.md.
 */
import { loadParameters } from "@postmq/config";
import { openResolver } from "@postmq/dns";
import { openLog } from "@postmq/observability";
import type { ClaimedRequest, Delivering } from "@postmq/queue-store";
import { smtpSink } from "@postmq/testing";
import type { SmtpSink } from "@postmq/testing";
import { makeQueueId } from "@postmq/vocabulary";
import type { RequestName } from "@postmq/vocabulary";
import SMTPConnection from "nodemailer/lib/smtp-connection";

import { attemptRecorder } from "../src/job/attempt-log.ts";
import { DeliveryWorker } from "../src/job/delivery-worker.ts";
import { openAttemptSettings } from "../src/settings.ts";

const [messages = 4_000, concurrency = 20, perJob = 10, bytes = 4096] = process.argv
  .slice(2)
  .map(Number);
const rounds = 12;

const line = "The quick brown fox jumps over the lazy dog, once more.\r\n";
const content = Buffer.from(
  `From: <a@example.com>\r\nSubject: x\r\n\r\n${line.repeat(Math.ceil(bytes / line.length))}`,
).subarray(0, bytes - 2);
const inline = Buffer.concat([content, Buffer.from("\r\n")]);

/** Marks wait for the next turn of the event loop, as they do when they travel in batches. */
function fakeDelivering(nexthop: string): Delivering {
  const turn = () => new Promise<void>((resolve) => setImmediate(resolve));
  const claimed = (name: RequestName): ClaimedRequest => ({
    name,
    destination: { transport: "smtp", nexthop },
    arrivalMs: Date.now() - 5,
    activeMs: Date.now() - 2,
    createdMs: Date.now(),
    wasWarned: false,
    envelope: { sender: "sender@example.com", origin: "smtp" },
    recipients: [{ address: "recipient@example.net", number: 0, state: { kind: "todo" } }],
    content: { contentId: name.id, sizeBytes: inline.length, chunks: 1 },
    inline,
  });
  return {
    worker: "bench",
    claim: async (names) => {
      await turn();
      return names.map(claimed);
    },
    connections: {
      onAsked: () => {},
      isAskedFor: async () => false,
      take: async ({ name }) => ({ name, [Symbol.dispose]: () => {} }),
    },
    isQueued: async () => true,
    markDotSent: async () => {
      await turn();
      return true;
    },
    record: turn,
    end: turn,
    readContent: async function* none() {},
    unwritten: () => [],
    restore: turn,
  };
}

/** @returns µs of CPU per message */
async function measure(run: () => Promise<void>): Promise<number> {
  const before = process.cpuUsage();
  await run();
  const { user, system } = process.cpuUsage(before);
  return (user + system) / messages;
}

async function ours(sink: SmtpSink, logs: boolean): Promise<number> {
  const parameters = loadParameters({ env: {}, service: "smtp-delivery" });
  const log = openLog({ syslogName: "postmq", service: "smtp", write: () => {} });
  const worker = new DeliveryWorker({
    parameters,
    delivering: fakeDelivering(sink.relayhost),
    settings: await openAttemptSettings(parameters, {
      resolver: openResolver(parameters),
      onWarning: () => {},
      onInfo: () => {},
    }),
    log,
    draining: new AbortController().signal,
    nowMs: Date.now,
    onAttempt: logs ? attemptRecorder(log, 2, undefined) : () => {},
  });
  let next = 0;
  const lane = async () => {
    while (next < messages) {
      const names = Array.from({ length: perJob }, () => {
        next += 1;
        return { id: makeQueueId(Date.now() * 1000 + next, next), number: 0, generation: 1 };
      });
      await worker.serve({ requests: names, keepsConnection: true });
    }
  };
  const cost = await measure(async () => {
    await Promise.all(Array.from({ length: concurrency }, lane));
  });
  await worker.drain(Promise.resolve());
  return cost;
}

async function nodemailers(sink: SmtpSink): Promise<number> {
  let next = 0;
  const lane = async () => {
    const connection = new SMTPConnection({ host: "127.0.0.1", port: sink.port, ignoreTLS: true });
    await new Promise<void>((resolve) => connection.connect(() => resolve()));
    while ((next += 1) <= messages) {
      const envelope = {
        from: "sender@example.com",
        to: ["recipient@example.net"],
        size: inline.length,
      };
      await new Promise<void>((resolve, reject) =>
        connection.send(envelope, inline, (error) => (error ? reject(error) : resolve())),
      );
    }
    connection.quit();
  };
  return await measure(async () => {
    await Promise.all(Array.from({ length: concurrency }, lane));
  });
}

await using sink = await smtpSink();
await ours(sink, false);
const costs: Record<"ours" | "with log lines" | "nodemailer", number[]> = {
  ours: [],
  "with log lines": [],
  nodemailer: [],
};
for (let round = 0; round < rounds; round++) {
  costs.ours.push(await ours(sink, false));
  costs["with log lines"].push(await ours(sink, true));
  costs.nodemailer.push(await nodemailers(sink));
}
for (const [kind, values] of Object.entries(costs)) {
  const sorted = values.toSorted((a, b) => a - b);
  const shown = [sorted[0] ?? 0, sorted[rounds / 2] ?? 0].map((cost) => cost.toFixed(1));
  process.stdout.write(`${kind}: least ${shown[0]}, median ${shown[1]} µs per message\n`);
}
process.exit(0);
