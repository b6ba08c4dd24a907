/** destination_grouping = mx: domains that the same MX hosts serve share limits and dead marks; else each has its own. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";

import {
  FakeDnsServer,
  FakeSmtpServer,
  freePort,
  sendMail,
  startPostmq,
  testMail,
  waitFor,
} from "@postmq/testing";
import type { PostmqSystem } from "@postmq/testing";

import { deliveryLines, isSuspended } from "../support/delivery-log.ts";
import type { DeliveryLine } from "../support/delivery-log.ts";

const limit = 2;
const mailsPerDomain = 20;
/** Two with the same host, and one whose name server says nothing. */
const zone = {
  "a.test": ["MX 10 mx.test"],
  "b.test": ["MX 20 mx.test"],
  "mx.test": ["A 127.0.0.1"],
  "slow.test": "silence",
} as const;

/** A name server that says nothing is asked twice, for 5 s each. */
const silenceMs = 10_000;

const slow = () =>
  FakeSmtpServer.start({
    decide: ({ stage }) => (stage === "dot" ? { delayMs: 30 } : undefined),
  });

type Stage = {
  readonly grouping: "mx" | "nexthop";
  readonly port: number;
  readonly dns: FakeDnsServer;
  /** initial_destination_concurrency; of 1, one failure kills. */
  readonly window?: number;
};

function start({ grouping, port, dns, window = limit }: Stage): Promise<PostmqSystem> {
  const entries = ["a.test", "b.test", "slow.test"].map(
    (domain) => `{${domain} = smtp:${domain}:${port}}`,
  );
  return startPostmq({
    scale: { "smtp-delivery": 2 },
    parameters: {
      destination_grouping: grouping,
      dns_servers: `127.0.0.1:${dns.port}`,
      transport_maps: `inline:{${entries.join(", ")}}`,
      smtp_allow_private_addresses: "yes",
      default_destination_concurrency_limit: String(limit),
      initial_destination_concurrency: String(window),
      default_destination_concurrency_failed_cohort_limit: "1",
    },
  });
}

/** @returns its queue id */
async function send(system: PostmqSystem, domain: string): Promise<string> {
  const reply = await sendMail(system.smtpPort, testMail({ to: [`u@${domain}`] }));
  assert.equal(reply.code, 250, reply.text);
  return /queued as (\w+)/.exec(reply.text)?.[1] ?? "";
}

/** The first delivery line for it. */
function lineFor(system: PostmqSystem, domain: string): Promise<DeliveryLine> {
  return waitFor(() => deliveryLines(system.logs, domain)[0], {
    describe: () => `a delivery line for ${domain}\n${system.lastLines()}`,
  });
}

async function get(system: PostmqSystem, path: string): Promise<Readonly<Record<string, unknown>>> {
  const answer: unknown = await (await fetch(`${system.adminUrl}/v1/${path}`)).json();
  assert.ok(typeof answer === "object" && answer !== null);
  return { ...answer };
}

async function sendMany(system: PostmqSystem): Promise<void> {
  const domains = Array.from({ length: mailsPerDomain }, () => ["a.test", "b.test"]).flat();
  await Promise.all(domains.map((domain) => send(system, domain)));
}

function arrived(sink: FakeSmtpServer, system: PostmqSystem, count: number): Promise<unknown> {
  return waitFor(() => sink.messages.length >= count, {
    describe: () => `${count} messages, not ${sink.messages.length}\n${system.lastLines()}`,
  });
}

describe("S16: destinations of domains with the same MX hosts", () => {
  it("share a limit with destination_grouping = mx, and wait for nobody's slow name server", async () => {
    await using dns = await FakeDnsServer.start({ zone });
    await using sink = await slow();
    await using system = await start({ grouping: "mx", port: sink.port, dns });
    const sentMs = performance.now();
    await send(system, "slow.test");
    await sendMany(system);
    await arrived(sink, system, 1);
    assert.ok(performance.now() - sentMs < silenceMs, "waited for a silent name server");
    await arrived(sink, system, 2 * mailsPerDomain);
    assert.equal(sink.mostConnections, limit);
  });

  it("are dead together, and are told of by one name", async () => {
    await using dns = await FakeDnsServer.start({ zone });
    const port = await freePort();
    await using system = await start({ grouping: "mx", port, dns, window: 1 });
    const name = `smtp:mx:mx.test:${port}`;
    await send(system, "a.test");
    assert.match((await lineFor(system, "a.test")).text, /Connection refused/);
    const id = await send(system, "b.test");
    const line = await lineFor(system, "b.test");
    assert.ok(isSuspended(line), line.text);
    const { destination } = await get(system, `messages/${id}/explain`);
    assert.equal(destination, name);
    await waitFor(
      async () => {
        const { destinations } = await get(system, "destinations?dead=true");
        return Array.isArray(destinations) && destinations[0]?.name === name;
      },
      { describe: () => `${name} to be dead\n${system.lastLines()}` },
    );
    assert.deepEqual(await system.stop(), []);
  });

  it("are two by default: each has its limit", async () => {
    await using dns = await FakeDnsServer.start({ zone });
    await using sink = await slow();
    await using system = await start({ grouping: "nexthop", port: sink.port, dns });
    await sendMany(system);
    await arrived(sink, system, 2 * mailsPerDomain);
    assert.equal(sink.mostConnections, 2 * limit);
    assert.deepEqual(await system.stop(), []);
  });
});
