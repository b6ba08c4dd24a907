/** `GET /v1/messages/{id}/explain` over real processes: why a message is not being delivered right now. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { TestContext } from "node:test";

import { sendMail, startPostmq, testMail, waitFor } from "@postmq/testing";
import type { PostmqSystem } from "@postmq/testing";

import { GatedSink } from "../support/gated-sink.ts";
import { transportMaps } from "../support/many-destinations.ts";

/** A fifth of it, so 6 messages, is a destination's share (S31). */
const activeLimit = 30;
const share = activeLimit / 5;

type Answer = {
  readonly cause: string;
  readonly sentence: string;
  /** Of the destinations, in order. */
  readonly details: readonly string[];
};

async function ask(system: PostmqSystem, id: string): Promise<Answer> {
  const response = await fetch(`${system.adminUrl}/v1/messages/${id}/explain`);
  const body: unknown = await response.json();
  assert.equal(response.status, 200, JSON.stringify(body));
  return parseAnswer(body);
}

function parseAnswer(body: unknown): Answer {
  const answer = body as {
    readonly cause: string;
    readonly sentence: string;
    readonly details: readonly { readonly cause: string }[];
  };
  return { ...answer, details: answer.details.map(({ cause }) => cause) };
}

/** @returns its queue id. */
async function send(system: PostmqSystem, recipient: string): Promise<string> {
  const reply = await sendMail(system.smtpPort, testMail({ to: [recipient] }));
  assert.equal(reply.code, 250, reply.text);
  return /queued as (\w+)/.exec(reply.text)?.[1] ?? "";
}

/** Some messages, one after the other, so that they stand in this order. @returns their queue ids. */
async function sendSome(system: PostmqSystem, domain: string, count: number) {
  const ids: string[] = [];
  for (let number = 1; number <= count; number += 1) {
    ids.push(await send(system, `u${number}@${domain}`));
  }
  return ids;
}

/** Waits for the cause and prints the sentence. */
async function expectCause(
  { system, context }: { readonly system: PostmqSystem; readonly context: TestContext },
  id: string,
  expected: { readonly cause: string; readonly sentence: RegExp; readonly detail?: string },
): Promise<void> {
  let answer: Answer | undefined;
  await waitFor(
    async () => {
      answer = await ask(system, id);
      const isDetailed = expected.detail === undefined || answer.details.includes(expected.detail);
      return answer.cause === expected.cause && isDetailed;
    },
    {
      everyMs: 100,
      describe: () => `${expected.cause}, not ${JSON.stringify(answer)}\n${system.lastLines(10)}`,
    },
  );
  context.diagnostic(`${expected.cause}: ${answer?.sentence ?? ""}`);
  assert.match(answer?.sentence ?? "", expected.sentence);
}

describe("explain", () => {
  it("names each cause while it is one", async (context) => {
    await using stack = new AsyncDisposableStack();
    const silentDomains = Array.from({ length: 5 }, (_, n) => `silent${n}.example.com`);
    const silent = await Promise.all(
      silentDomains.map(async () => stack.use(await GatedSink.start())),
    );
    for (const gated of silent) gated.holdAt("greeting");
    const later = stack.use(await GatedSink.start());
    later.answerBy(({ stage }) => (stage === "rcpt" ? { reply: "450 4.2.1 later" } : undefined));
    const unanswered = stack.use(await GatedSink.start());
    unanswered.holdAt("dot");
    const ports = new Map(silentDomains.map((domain, n) => [domain, silent[n]?.server.port ?? 0]));
    const refusing = stack.use(await GatedSink.start());
    refusing.holdAt("greeting");
    const turnsAway = { reply: "421 4.3.2 no service now" };
    refusing.answerBy(({ stage }) => (stage === "greeting" ? turnsAway : undefined));
    ports.set("later.example.com", later.server.port);
    ports.set("refusing.example.com", refusing.server.port);
    ports.set("unanswered.example.com", unanswered.server.port);
    const maps = `${transportMaps(ports).slice(0, -1)}, {lmtp.example.com = lmtp:[127.0.0.1]:24}}`;
    const system = stack.use(
      await startPostmq({
        parameters: {
          transport_maps: maps,
          defer_transports: "lmtp",
          ambiguous_delivery: "hold",
          qmgr_message_active_limit: String(activeLimit),
          worker_heartbeat_time: "2s",
          leader_lease_time: "5s",
        },
      }),
    );
    const at = { system, context };

    const tried = await send(system, "u@later.example.com");
    await expectCause(at, tried, {
      cause: "backoff",
      sentence: /after 1 attempt.*450 4\.2\.1 later/,
    });
    // Four failures while mail waits there make a destination dead (S28): one without mail is forgotten.
    const refused = (await sendSome(system, "refusing.example.com", share)).at(-1) ?? "";
    await waitFor(() => refusing.held === 5, { describe: "five that wait" });
    refusing.open(turnsAway);
    const dead = { cause: "backoff", detail: "destination-dead" };
    await expectCause(at, refused, { ...dead, sentence: /rests in deferred.*no service now/ });
    const idle = await send(system, "u@lmtp.example.com");
    const resting = { cause: "backoff", detail: "transport-deferred" };
    await expectCause(at, idle, { ...resting, sentence: /transport lmtp.*defer/ });

    // Five are begun, since that is the window; the sixth waits; there is no room for more of them.
    const ids = await sendSome(system, "silent0.example.com", share + 1);
    await expectCause(at, ids[0] ?? "", {
      cause: "being-delivered",
      sentence: /being delivered to/,
    });
    const sixth = { cause: "concurrency-limit", sentence: /5 deliveries in flight.*window is 5/ };
    await expectCause(at, ids[share - 1] ?? "", sixth);
    await expectCause(at, ids[share] ?? "", { cause: "surplus", sentence: /share of the active/ });

    const asked = await send(system, "u@unanswered.example.com");
    const late = { cause: "being-delivered", sentence: /reply to the whole message outstanding/ };
    await expectCause(at, asked, late);
    // All that active takes, and one more for which there is no room.
    for (const domain of silentDomains.slice(1)) await sendSome(system, domain, share);
    const full = { cause: "active-full", sentence: /30 of at most 30/ };
    const outside = await send(system, "u2@later.example.com");
    await expectCause(at, outside, full);

    await system.service("smtp-delivery").kill9();
    await expectCause(at, asked, { cause: "held", sentence: /on hold/ });
    const nobody = { cause: "no-worker", sentence: /worker/ };
    await expectCause(at, ids[share - 1] ?? "", nobody);
    await system.service("qmgr").kill9();
    await expectCause(at, outside, { cause: "no-scheduler", sentence: /qmgr/ });
  });
});
