/** P8; faults 39 and 40: messages that kill their worker or can't be read end in corrupt, and nobody else pays. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { describe, it } from "node:test";

import {
  FakeSmtpServer,
  Ledger,
  ledgerReader,
  sendMail,
  startPostmq,
  testIdOf,
  testMail,
  waitFor,
} from "@postmq/testing";
import type { PostmqSystem } from "@postmq/testing";

import { probeDepth } from "../support/redis-probe.ts";

const quick = {
  minimal_backoff_time: "1s",
  maximal_backoff_time: "1s",
  queue_run_delay: "1s",
  sweep_interval: "1s",
  worker_heartbeat_time: "1s",
};

/** Until the log says that these went to corrupt: it is written after Redis has it. */
async function untilLogged(system: PostmqSystem, ids: readonly string[]): Promise<void> {
  const missing = () => ids.filter((id) => !new RegExp(`${id}: .*corrupt`).test(system.logs));
  await waitFor(() => missing().length === 0, {
    describe: () => `lines about ${missing().join(", ")}\n${system.lastLines()}`,
  });
}

function queueIdOf(reply: { readonly text: string }): string {
  return /queued as (\w+)/.exec(reply.text)?.[1] ?? assert.fail(reply.text);
}

/** Starts the worker again whenever it died, as a supervisor does. */
function supervise(system: PostmqSystem): Disposable & { readonly deaths: () => number } {
  let deaths = 0;
  const timer = setInterval(() => {
    if (system.service("smtp-delivery").isRunning) return;
    deaths += 1;
    system.respawn("smtp-delivery");
  }, 50);
  return { deaths: () => deaths, [Symbol.dispose]: () => clearInterval(timer) };
}

describe("fault 39: a message that kills its worker each time", () => {
  it("ends in corrupt after two crashes among others and three alone; its neighbours arrive", async () => {
    await using sink = await FakeSmtpServer.start({
      decide: ({ stage }) => (stage === "dot" ? { delayMs: 20 } : undefined),
    });
    const preload = join(import.meta.dirname, "..", "support", "die-at-marker.mjs");
    await using system = await startPostmq({
      parameters: { ...quick, relayhost: sink.relayhost },
      env: { NODE_OPTIONS: `--import ${preload}` },
    });
    using supervisor = supervise(system);
    const ledger = new Ledger();
    const refresh = ledgerReader(ledger, sink);
    const poison = testMail({ headers: "X-Kill-The-Worker: now\r\n" });
    const id = queueIdOf(await sendMail(system.smtpPort, poison));
    let neighbours = 0;
    await waitFor(
      async () => {
        const mail = testMail();
        if ((await sendMail(system.smtpPort, mail)).code === 250) {
          ledger.accept(mail.id, mail.to[0] ?? "");
          neighbours += 1;
        }
        return (await probeDepth(system.redis, "corrupt")) === 1;
      },
      {
        everyMs: 50,
        describe: () => `the poison to be parked\n${system.lastLines()}`,
      },
    );
    await ledger.settle({ refresh, describe: () => system.lastLines() });
    assert.ok(neighbours > 10);
    assert.equal(supervisor.deaths(), 2, "crashes of the worker that had it among others");
    await untilLogged(system, [id]);
    assert.equal(await system.redis.cli("EXISTS", `postmq:{default}:m:${id}`), "1");
    assert.equal(await system.redis.cli("EXISTS", `postmq:{default}:c:${id}`), "1");
    const seen = sink.messages.some(({ content }) => testIdOf(content) === poison.id);
    assert.equal(seen, false, "neither delivered nor bounced");
    assert.ok((await system.redis.cli("GET", "postmq:{default}:fence")) !== "");
  });
});

describe("fault 40: rubbish in Redis", () => {
  it("unreadable records and contents go to corrupt with a reason, and the daemons go on", async () => {
    await using sink = await FakeSmtpServer.start();
    await using system = await startPostmq({
      services: ["smtpd", "pickup", "bounce", "showq"],
      parameters: { ...quick, relayhost: sink.relayhost },
    });
    const prefix = "postmq:{default}";
    const ids: string[] = [];
    for (let count = 0; count < 4; count += 1) {
      ids.push(queueIdOf(await sendMail(system.smtpPort, testMail())));
    }
    const [noContent, badEnvelope, wrongType, noFields] = ids;
    await system.redis.cli("DEL", `${prefix}:c:${noContent}`);
    await system.redis.cli("HSET", `${prefix}:m:${badEnvelope}`, "e", "{rubbish");
    await system.redis.cli("DEL", `${prefix}:m:${wrongType}`);
    await system.redis.cli("SET", `${prefix}:m:${wrongType}`, "rubbish");
    await system.redis.cli("HDEL", `${prefix}:m:${noFields}`, "g", "at", "n");
    for (const queue of ["maildrop", "incoming", "active", "deferred", "bounce"]) {
      await system.redis.cli("HSET", `${prefix}:${queue}:rubbish`, "name", "x", "data", "{rubbish");
      await system.redis.cli("LPUSH", `${prefix}:${queue}:wait`, "rubbish", "no-such-job");
      await system.redis.cli(
        "HSET",
        `${prefix}:${queue}:odd`,
        "name",
        "x",
        "data",
        '{"i":[7,"::"]}',
      );
      await system.redis.cli("LPUSH", `${prefix}:${queue}:wait`, "odd");
    }
    for (const name of ["cleanup", "qmgr", "smtp-delivery"] as const) await system.add(name);
    await system.ready();
    const good = testMail();
    assert.equal((await sendMail(system.smtpPort, good)).code, 250);
    await waitFor(() => sink.accepted.some(({ content }) => testIdOf(content) === good.id), {
      describe: () => `mail to flow past the rubbish\n${system.lastLines()}`,
    });
    await waitFor(async () => (await probeDepth(system.redis, "corrupt")) === 4, {
      describe: () => `four messages in corrupt\n${system.lastLines()}`,
    });
    await untilLogged(system, ids);
    assert.equal(sink.accepted.length, 1);
    assert.ok(system.runs.every((run) => run.isRunning));
    assert.deepEqual(await system.stop(), []);
  });
});
