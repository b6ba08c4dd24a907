/**
 * Operations asked for over HTTP while mail flows and their showq is killed, frozen and told to stop: each ends with every
 * message of its selection done once, counted once, and nothing else touched.
 *
 * Source: spec http-api.md §2 "Operations".
 */
import assert from "node:assert/strict";
import { after, describe, it } from "node:test";

import { checkInstance, openStore } from "@postmq/queue-store";
import type { Operations, Store } from "@postmq/queue-store";
import { startPostmq, waitFor } from "@postmq/testing";
import type { PostmqSystem } from "@postmq/testing";

import { makeAdmin } from "../support/admin-token.ts";
import { assertEachOnce, countCopies } from "../support/flood.ts";
import { portsOf, startSinks, transportMaps } from "../support/many-destinations.ts";
import { waitUntilDrained } from "../support/redis-probe.ts";
import { SteadyStream } from "../support/steady-stream.ts";

const many = 6_000;
const mostTries = 10;
const senders = { spam: "spam@x.example", ham: "ham@x.example" };

const admin = await makeAdmin();
after(() => admin[Symbol.asyncDispose]());

type View = Readonly<Record<string, unknown>>;

/** A page of the API as an object. */
async function read(url: string, init: RequestInit = {}): Promise<View> {
  const headers = new Headers(init.headers);
  for (const [name, value] of Object.entries(admin.headers)) headers.set(name, value);
  const body: unknown = await (await fetch(url, { ...init, headers })).json();
  assert.ok(typeof body === "object" && body !== null);
  return { ...body };
}

async function ask(system: PostmqSystem, body: object): Promise<string> {
  const view = await read(`${system.adminUrl}/v1/operations`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ reason: "a test", ...body }),
  });
  assert.equal(typeof view["id"], "string", JSON.stringify(view));
  return String(view["id"]);
}

const operationAt = (system: PostmqSystem, id: string) =>
  read(`${system.adminUrl}/v1/operations/${id}`);

const holderName = (system: PostmqSystem, id: string): Promise<string> =>
  system.redis.cli("HGET", `postmq:{default}:op:${id}`, "holder");

/**
 * Freezes the showq that has the operation, after it has done something.
 *
 * @returns its index; undefined when it had done more than half: then it may be at its last step, or at the end
 */
async function freezeHolder(
  system: PostmqSystem,
  operations: Operations,
  id: string,
): Promise<number | undefined> {
  const deleted = async () => (await operations.read(id))?.done.delete ?? 0;
  await waitFor(async () => (await deleted()) > 0, { everyMs: 1 });
  // Both at once: by the time that one is named it may be at its end.
  for (const index of [0, 1]) system.service("showq", index).freeze();
  const isHalfDone = (await deleted()) > many / 2;
  const holder = await holderName(system, id);
  const index = [0, 1].find((n) => holder.includes(`-${system.service("showq", n).pid}.`));
  assert.ok(index !== undefined, holder);
  system.service("showq", 1 - index).thaw();
  if (!isHalfDone) return index;
  system.service("showq", index).thaw();
  return undefined;
}

/** An operation on a hold that is filled for it, and which showq was frozen over it. */
async function frozenAtWork(
  system: PostmqSystem,
  store: Store,
  operations: Operations,
): Promise<{ readonly id: string; readonly index: number }> {
  for (let tries = 0; tries < mostTries; tries += 1) {
    await fillHold(store, many, senders.spam);
    const id = await ask(system, { action: "delete", select: { sender: senders.spam } });
    const index = await freezeHolder(system, operations, id);
    if (index !== undefined) return { id, index };
    assert.partialDeepStrictEqual(await ended(system, id), { state: "done", done: many });
  }
  assert.fail(`${mostTries} operations were over before their showq could be frozen`);
}

async function ended(system: PostmqSystem, id: string): Promise<View> {
  let view: View = {};
  await waitFor(
    async () => {
      view = await operationAt(system, id);
      return "ended" in view;
    },
    { timeoutMs: 180_000, everyMs: 100, describe: () => `the end of ${JSON.stringify(view)}` },
  );
  return view;
}

async function fillHold(store: Store, count: number, sender: string): Promise<void> {
  const intake = store.intake();
  for (let left = count; left > 0; left -= 500) {
    await Promise.all(
      Array.from({ length: Math.min(500, left) }, async (_, n) => {
        const id = intake.newId();
        const writer = intake.openContent(id);
        await writer.write(Buffer.from("Subject: held\r\n\r\nOne line.\r\n"));
        const recipients = [{ address: `u${n}@d${n % 50}.example` }];
        const envelope = { sender, origin: "smtp" } as const;
        const content = await writer.finish();
        await intake.commit({ id, queue: "hold", envelope, recipients, content });
      }),
    );
  }
}

describe("operations over HTTP while mail flows", () => {
  it("are right to the message when their showq is killed, frozen, or told to stop", async () => {
    await using stack = new AsyncDisposableStack();
    const sinks = await startSinks(stack, 2);
    const system = stack.use(
      await startPostmq({
        scale: { showq: 2 },
        parametersOf: (name) => (name === "showq" ? { api_tokens: admin.file } : undefined),
        parameters: { transport_maps: transportMaps(portsOf(sinks)) },
      }),
    );
    await using store = await openStore({
      redisUrl: system.redis.url,
      instanceName: "default",
      processName: "test",
      memoryHighWater: 0.8,
      heartbeatMs: 10_000,
      leaseMs: 8_000,
    });
    const stream = new SteadyStream({
      smtpPort: system.smtpPort,
      sinks,
      sessions: 2,
      mostUnderWay: 20,
    });
    await fillHold(store, 500, senders.ham);
    const operations = store.operations();
    await waitFor(() => stream.arrived > 20, { describe: "mail to flow" });
    const arrivedBefore = stream.arrived;

    // Each is told of a showq that is frozen.
    const trials: Readonly<Record<string, (index: number, id: string) => Promise<void>>> = {
      "kill -9": async (index) => {
        await system.service("showq", index).kill9();
        await system.restart("showq", index);
      },
      frozen: async (index, id) => {
        const other = `-${system.service("showq", 1 - index).pid}.`;
        const isTaken = async () => (await holderName(system, id)).includes(other);
        await waitFor(isTaken, {
          timeoutMs: 90_000,
          everyMs: 100,
          describe: "the other to take it",
        });
        system.service("showq", index).thaw();
      },
      SIGTERM: async (index) => {
        const exit = await system.service("showq", index).terminate();
        assert.equal(exit.code, 0);
        await system.restart("showq", index);
      },
    };
    for (const [name, trouble] of Object.entries(trials)) {
      const { id, index } = await frozenAtWork(system, store, operations);
      await trouble(index, id);
      const view = await ended(system, id);
      assert.partialDeepStrictEqual(view, { state: "done", done: many }, name);
      // Of the mail that flows, some may be looked at, too.
      assert.ok(Number(view["seen"]) >= many, `${name}: ${String(view["seen"])}`);
      // More than one where the machine stood still for longer than an operation is held.
      assert.ok(Number(view["restarts"]) >= 1, name);
      const { entries } = await read(`${system.adminUrl}/v1/audit?limit=1000`);
      assert.ok(Array.isArray(entries));
      const notes = entries.filter((entry: View) => entry["operation"] === id);
      assert.deepEqual(
        notes.map((entry: View) => [entry["outcome"], entry["count"]]),
        [
          ["done", many],
          ["started", undefined],
        ],
        name,
      );
      const left = await read(`${system.adminUrl}/v1/messages?sender=${senders.spam}`);
      assert.deepEqual(left["messages"], [], name);
    }
    assert.ok(stream.arrived > arrivedBefore, "no mail flowed meanwhile");
    await stream.stop();
    await waitUntilDrained(system.redis);
    assertEachOnce(stream.recipients, countCopies([...sinks.values()]));
    const depths = await store.looking().depths();
    assert.equal(depths.find(({ queue }) => queue === "hold")?.messages, 500);
    assert.deepEqual(await checkInstance(system.redis.url, "default"), []);
  });
});
