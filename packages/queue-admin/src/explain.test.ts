import assert from "node:assert/strict";
import { describe, it } from "node:test";

import type {
  DestinationReport,
  ListedMessage,
  OpenRequest,
  SchedulerReport,
} from "@postmq/queue-store";
import { enhancedStatus } from "@postmq/vocabulary";
import type { MessageQueue, RequestState, StoredRecipient } from "@postmq/vocabulary";

import { explain } from "./explain.ts";
import type { MessageDestination } from "./explain-destination.ts";
import { listedMessage } from "./samples.test-support.ts";

const nowMs = Date.UTC(2026, 10, 22, 3, 30, 0);
const inMs = (seconds: number) => nowMs + seconds * 1000;

function message(queue: MessageQueue, changes: Partial<ListedMessage> = {}): ListedMessage {
  const parts = { id: "4Fq0000000zABCDEF", queue, arrivalMs: inMs(-60), sizeBytes: 100 };
  const recipients = [{ address: "a@far.example" }];
  return { ...listedMessage({ ...parts, sender: "s@x.example", recipients }), ...changes };
}

const leader: SchedulerReport = {
  fence: "1",
  leadsSinceMs: inMs(-600),
  activeMessages: 12,
  activeLimit: 20_000,
  recipientsInMemory: 12,
  recipientLimit: 20_000,
  capacity: 100,
  liveWorkers: 2,
  jobsOut: 3,
  waiting: 7,
  throttled: [],
  updatedMs: nowMs,
};

const name = "smtp:far.example";
const toFar = { transport: "smtp", nexthop: "far.example" } as const;

function report(changes: Partial<DestinationReport> = {}): DestinationReport {
  return {
    name,
    destination: toFar,
    window: 5,
    limit: 20,
    inFlight: 2,
    waiting: 7,
    surplus: 0,
    success: 0,
    failure: 0,
    failedCohorts: 0,
    endedPerMinute: 30,
    updatedMs: nowMs,
    ...changes,
  };
}

const dead = {
  sinceMs: inMs(-120),
  untilMs: inMs(180),
  status: enhancedStatus("4.4.1"),
  reason: "connect to far.example[192.0.2.1]:25: Connection refused",
};

const todo: StoredRecipient = { number: 0, address: "a@far.example", state: { kind: "todo" } };
const deferred: StoredRecipient = {
  ...todo,
  state: { kind: "deferred", status: enhancedStatus("4.2.1"), reason: "said: 450 4.2.1 later" },
};

function far(
  changes: Partial<DestinationReport> = {},
  recipients: readonly StoredRecipient[] = [todo],
): MessageDestination {
  return { name, destination: toFar, recipients, report: report(changes) };
}

function request(state: RequestState, recipients: readonly number[] = [0]): OpenRequest {
  const { id } = message("active");
  const claim = state === "queued" ? "" : "mx1-17.3";
  return { name: { id, number: 0, generation: 1 }, state, destination: toFar, recipients, claim };
}

function explained(about: ListedMessage, changes: Partial<Parameters<typeof explain>[0]> = {}) {
  return explain({
    message: about,
    openRequests: [],
    scheduler: leader,
    destinations: [far()],
    deferTransports: [],
    nowMs,
    ...changes,
  });
}

describe("explain, by the queue", () => {
  it("held: on hold until an operator releases it", () => {
    const { id, queue, cause, sentence, details } = explained(message("hold"));
    assert.deepEqual([id, queue, cause, details], ["4Fq0000000zABCDEF", "hold", "held", []]);
    assert.match(sentence, /on hold, until an operator releases it/);
  });

  it("corrupt: with the reason", () => {
    const { cause, sentence } = explained(
      message("corrupt", { corruptReason: "a chunk\nis gone" }),
    );
    assert.equal(cause, "corrupt");
    assert.match(sentence, /corrupt: a chunk\?is gone\./);
  });

  it("in-maildrop: waiting for cleanup since it arrived", () => {
    const { cause, sinceMs, sentence } = explained(message("maildrop"));
    assert.deepEqual([cause, sinceMs], ["in-maildrop", inMs(-60)]);
    assert.match(sentence, /since 2026-11-22T03:29:00Z \(60 s ago\), and waits for cleanup/);
  });

  it("no-scheduler: nobody leads, for mail in incoming, due in deferred, and in active", () => {
    for (const queue of ["incoming", "deferred", "active"] as const) {
      assert.equal(explained(message(queue), { scheduler: undefined }).cause, "no-scheduler");
    }
  });

  it("S2 active-full: with the numbers", () => {
    const scheduler = { ...leader, activeMessages: 20_000 };
    const { cause, sentence } = explained(message("incoming"), { scheduler });
    assert.equal(cause, "active-full");
    assert.match(sentence, /20000 of at most 20000 messages/);
    assert.equal(
      explained(message("deferred", { dueMs: inMs(-1) }), { scheduler }).cause,
      "active-full",
    );
  });

  it("waiting-for-import: due, and there is room", () => {
    assert.equal(explained(message("incoming")).cause, "waiting-for-import");
    const due = message("deferred", { dueMs: inMs(-1) });
    assert.equal(explained(due).cause, "waiting-for-import");
  });

  it("Q10 calls a message of incoming that is not due yet by its time", () => {
    const { cause, untilMs } = explained(message("incoming", { dueMs: inMs(90) }));
    assert.deepEqual([cause, untilMs], ["backoff", inMs(90)]);
  });
});

describe("explain, in deferred", () => {
  const resting = message("deferred", {
    attempts: 2,
    lastAttemptMs: inMs(-30),
    dueMs: inMs(300),
    recipients: [deferred],
  });

  it("S5 backoff: until when, after how many attempts, and what was said last", () => {
    const answer = explained(resting, { destinations: [far({}, [deferred])] });
    const { cause, sinceMs, untilMs, destination, sentence } = answer;
    assert.deepEqual(
      [cause, sinceMs, untilMs, destination],
      ["backoff", inMs(-30), inMs(300), name],
    );
    assert.equal(
      sentence,
      "It rests in deferred after 2 attempts, until 2026-11-22T03:35:00Z (in 5 min); the last said: said: 450 4.2.1 later.",
    );
    assert.equal(answer.details[0]?.lastReason, "said: 450 4.2.1 later");
  });

  it("S28 backoff, and that its destination is dead besides", () => {
    const { cause, untilMs, sentence, details } = explained(resting, {
      destinations: [far({ dead }, [deferred])],
    });
    assert.deepEqual([cause, untilMs], ["backoff", inMs(300)]);
    assert.match(sentence, /Besides: smtp:far\.example is dead since .* Connection refused\./);
    const [detail] = details;
    assert.deepEqual(
      [detail?.cause, detail?.sinceMs, detail?.untilMs],
      ["destination-dead", dead.sinceMs, dead.untilMs],
    );
  });

  it("S36 backoff, and that its transport is deferred besides", () => {
    const { cause, sentence } = explained(resting, { deferTransports: ["smtp"] });
    assert.equal(cause, "backoff");
    assert.match(sentence, /Besides: The transport smtp is deferred until a flush/);
  });

  it("S31 surplus: sent back untried, because its destination holds its share of active", () => {
    const back = message("deferred", { dueMs: inMs(300), isSurplus: true });
    const { cause, destination, sentence, details } = explained(back, {
      destinations: [far({ surplus: 16_000 })],
    });
    assert.deepEqual([cause, destination], ["surplus", name]);
    assert.match(sentence, /holds its share of the active queue; 16000 messages/);
    assert.deepEqual(details[0]?.load, { window: 5, limit: 20, inFlight: 2, waiting: 7 });
    const tried = explained(resting, { destinations: [far({ surplus: 9 }, [deferred])] });
    assert.equal(tried.cause, "backoff");
  });

  it("S31 surplus of a fair_share_key: no report of its destination tells of it", () => {
    const back = message("deferred", { dueMs: inMs(300), isSurplus: true });
    const { report: _report, ...unknown } = far();
    for (const destinations of [[unknown], [far()]]) {
      const answer = explained(back, { destinations });
      const { cause, untilMs, destination, sentence, details } = answer;
      assert.deepEqual([cause, untilMs, destination], ["surplus", inMs(300), undefined]);
      assert.match(sentence, /fair_share_key, held its share .* or until 2026-11-22T03:35:00Z/);
      assert.deepEqual(
        details.map((detail) => [detail.destination, detail.cause, detail.untilMs]),
        [[name, "surplus", inMs(300)]],
      );
    }
    const atDead = explained(back, { destinations: [far({ dead })] });
    assert.equal(atDead.cause, "surplus");
    assert.match(atDead.sentence, /Besides: smtp:far\.example is dead since/);
    assert.equal(atDead.details[0]?.cause, "destination-dead");
    const due = message("deferred", { dueMs: inMs(-1), isSurplus: true });
    assert.equal(explained(due).cause, "waiting-for-import");
    assert.equal(explained(back, { scheduler: undefined }).cause, "backoff");
  });
});

describe("explain, in active", () => {
  const active = message("active");

  it("being-delivered: by which worker", () => {
    const { cause, destination, sentence, details } = explained(active, {
      openRequests: [request("claimed")],
    });
    assert.deepEqual([cause, destination], ["being-delivered", name]);
    assert.match(sentence, /being delivered to smtp:far\.example by mx1-17\.3\./);
    assert.equal(details[0]?.worker, "mx1-17.3");
    const late = explained(active, { openRequests: [request("dotSent")] });
    assert.match(late.sentence, /the reply to the whole message outstanding/);
  });

  it("being-delivered, though only recipients beyond those that were read are", () => {
    const many = message("active", { undoneRecipients: 3000, totalRecipients: 3000 });
    const toNear = { transport: "smtp", nexthop: "near.example" } as const;
    const beyond = { ...request("dotSent", [2500]), destination: toNear };
    const answer = explained(many, {
      destinations: [far({ dead })],
      openRequests: [request("queued", [2000]), beyond],
    });
    assert.deepEqual([answer.cause, answer.destination], ["being-delivered", "smtp:near.example"]);
    assert.equal(
      answer.sentence,
      "It is being delivered to smtp:near.example by mx1-17.3, the reply to the whole message outstanding. Other recipients wait for other reasons, at 1 destination.",
    );
    assert.deepEqual(
      answer.details.map(({ cause }) => cause),
      ["destination-dead"],
    );
    const atSite = { ...beyond, destination: { ...toNear, site: "mx:mx.example" } };
    const shared = explained(many, { destinations: [far({ dead })], openRequests: [atSite] });
    assert.equal(shared.destination, "smtp:mx:mx.example");
    const asked = explained(many, {
      destinations: [far({ dead })],
      openRequests: [request("queued", [2000])],
    });
    assert.equal(asked.cause, "destination-dead");
  });

  it("being-delivered, even while nobody leads", () => {
    const openRequests = [request("claimed")];
    const { cause } = explained(active, { openRequests, scheduler: undefined });
    assert.equal(cause, "being-delivered");
  });

  it("S36 transport-deferred: by defer_transports", () => {
    const { cause, sentence } = explained(active, { deferTransports: ["lmtp", "smtp"] });
    assert.equal(cause, "transport-deferred");
    assert.match(sentence, /transport smtp .*defer_transports/);
  });

  it("S35 transport-throttled: until when and why", () => {
    const throttle = {
      transport: "smtp",
      untilMs: inMs(60),
      status: enhancedStatus("4.3.0"),
      reason: "no worker answers",
    };
    const scheduler = { ...leader, throttled: [throttle] };
    const { cause, untilMs, sentence } = explained(active, { scheduler });
    assert.deepEqual([cause, untilMs], ["transport-throttled", inMs(60)]);
    assert.match(sentence, /throttled until .*: no worker answers/);
    const past = { ...leader, throttled: [{ ...throttle, untilMs: inMs(-1) }] };
    assert.equal(explained(active, { scheduler: past }).cause, "waiting-turn");
  });

  it("S28 destination-dead: since when, until when and why", () => {
    const { cause, sinceMs, untilMs, destination, sentence } = explained(active, {
      destinations: [far({ dead, window: 0 })],
    });
    assert.deepEqual(
      [cause, sinceMs, untilMs, destination],
      ["destination-dead", dead.sinceMs, dead.untilMs, name],
    );
    assert.match(sentence, /in 3 min\): connect to far\.example/);
  });

  it("no-worker: none is alive, whatever else is full, asked or not", () => {
    const scheduler = { ...leader, liveWorkers: 0, capacity: 0 };
    const destinations = [far({ inFlight: 5 })];
    assert.equal(explained(active, { scheduler, destinations }).cause, "no-worker");
    const openRequests = [request("queued")];
    assert.equal(explained(active, { scheduler, openRequests }).cause, "no-worker");
  });

  it("S30 rate-delay: until when", () => {
    const { cause, untilMs } = explained(active, {
      destinations: [far({ window: 0, inFlight: 0, pausedUntilMs: inMs(10) })],
    });
    assert.deepEqual([cause, untilMs], ["rate-delay", inMs(10)]);
  });

  it("S24 concurrency-limit: window, limit, in flight", () => {
    const { cause, destination, sentence, details } = explained(active, {
      destinations: [far({ inFlight: 5 })],
    });
    assert.deepEqual([cause, destination], ["concurrency-limit", name]);
    assert.match(
      sentence,
      /5 deliveries in flight, and its window is 5, of at most 20; 7 requests/,
    );
    assert.deepEqual(details[0]?.load, { window: 5, limit: 20, inFlight: 5, waiting: 7 });
    const boundless = explained(active, { destinations: [far({ window: null, limit: null })] });
    assert.equal(boundless.cause, "waiting-turn");
  });

  it("waiting-turn: with the requests that wait at its destination", () => {
    const { cause, sentence } = explained(active);
    assert.equal(cause, "waiting-turn");
    assert.match(sentence, /can run 100 deliveries; 7 requests wait for smtp:far\.example/);
    const scheduler = { ...leader, jobsOut: 100 };
    assert.match(explained(active, { scheduler }).sentence, /all of them busy/);
  });

  it("waiting-turn: handed to the workers, but not begun", () => {
    const { cause, sentence } = explained(active, { openRequests: [request("queued")] });
    assert.equal(cause, "waiting-turn");
    assert.match(sentence, /handed to the workers/);
  });

  it("report-pending: nothing is left but its report", () => {
    const finished = message("active", { undoneRecipients: 0, recipients: [] });
    const { cause } = explained(finished, { destinations: [] });
    assert.equal(cause, "report-pending");
    const late = explained(message("active", { owedReport: "delay" }), { scheduler: undefined });
    assert.equal(late.cause, "report-pending");
    assert.match(late.sentence, /waits for bounce: it was tried, and a report that it is delayed/);
    const sent = explained(
      message("active", { owedReport: "success", undoneRecipients: 0, recipients: [] }),
      { destinations: [] },
    );
    assert.match(sent.sentence, /nothing is left to deliver, and a report that it was delivered/);
  });

  it("judges each destination by itself, and heads with the one of most recipients", () => {
    const others = [
      { ...todo, number: 1 },
      { ...todo, number: 2 },
    ];
    const near: MessageDestination = {
      name: "smtp:near.example",
      destination: { transport: "smtp", nexthop: "near.example" },
      recipients: others,
      report: report({ name: "smtp:near.example", dead }),
    };
    const answer = explained(active, { destinations: [far({ inFlight: 5 }), near] });
    assert.equal(answer.cause, "destination-dead");
    assert.match(answer.sentence, /Other recipients wait for other reasons, at 1 destination\./);
    assert.deepEqual(
      answer.details.map(({ destination, cause, recipients }) => [destination, cause, recipients]),
      [
        [name, "concurrency-limit", 1],
        ["smtp:near.example", "destination-dead", 2],
      ],
    );
  });
});
