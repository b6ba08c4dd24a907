/** Messages, requests and a scheduler with Postfix's defaults, for tests of its rules. */
import assert from "node:assert/strict";
import type { ImportedMessage } from "@postmq/queue-store";
import { parseQueueId } from "@postmq/vocabulary";
import type { QueueId, StoredRecipient } from "@postmq/vocabulary";
import { openMessage } from "../message.ts";
import type { ActiveMessage } from "../message.ts";
import type { Entry } from "./entry.ts";
import type { DestinationRules } from "./destination.ts";
import { Scheduler } from "./scheduler.ts";
import type { DeliveryJob, SchedulerOptions } from "./scheduler.ts";
import type { TransportRules } from "./transport.ts";

const one = { kind: "fixed", value: 1 } as const;

export const destinationRules: DestinationRules = {
  concurrencyLimit: 20,
  initialConcurrency: 5,
  positiveFeedback: one,
  negativeFeedback: one,
  failedCohortLimit: 1,
  rateDelayMs: 0,
  deadMs: 300_000,
};

export const rules: TransportRules = {
  destination: destinationRules,
  rateDelayMs: 0,
  slotCost: 5,
  slotLoan: 3,
  slotDiscount: 50,
  minimumSlots: 3,
};

/** A window that stays at so many. */
export function fixedWindow(places: number): TransportRules {
  const destination = { ...destinationRules, concurrencyLimit: places, initialConcurrency: places };
  return { ...rules, destination };
}

/** One request in each job, places for all. */
export function openScheduler(
  ofTransport: TransportRules = rules,
  changes: Partial<SchedulerOptions> = {},
): Scheduler {
  const scheduler = new Scheduler({
    rulesOf: () => ofTransport,
    activeLimit: 20_000,
    mostDestinations: 40_000,
    clogWarnMs: 300_000,
    onClogged: () => undefined,
    sizeOfJob: () => 1,
    ...changes,
  });
  scheduler.capacity = 1_000_000;
  return scheduler;
}

export function queueId(text: string): QueueId {
  const id = parseQueueId(text);
  assert(id !== undefined);
  return id;
}

let made = 0;

export function imported(changes: Partial<ImportedMessage> = {}): ImportedMessage {
  made += 1;
  return {
    id: queueId(`M${made}`),
    generation: 2,
    arrivalMs: 0,
    createdMs: 0,
    envelope: { sender: "s@x.example", origin: "smtp" },
    sizeBytes: 1,
    totalRecipients: 1,
    undoneRecipients: 1,
    unreportedRecipients: 0,
    unreportedSuccesses: 0,
    recipients: [],
    nextRecipient: changes.totalRecipients ?? 1,
    attempts: 0,
    crashes: 0,
    isFinished: false,
    isForceExpired: false,
    wasWarned: false,
    isUnthrottling: false,
    isMoreBehind: false,
    openRequests: [],
    ...changes,
  };
}

export function message(
  opened: { readonly activeMs?: number; readonly shareKey?: string } = {},
  changes: Partial<ImportedMessage> = {},
): ActiveMessage {
  const { activeMs = 0, shareKey = "" } = opened;
  return openMessage(imported(changes), { activeMs, order: made + 1, shareKey, isFlushed: false });
}

export function recipient(address: string, number = 0): StoredRecipient {
  return { address, number, state: { kind: "todo" } };
}

export function entry(domain: string, of: ActiveMessage = message(), transport = "smtp"): Entry {
  return {
    message: of,
    destination: { transport, nexthop: domain },
    queueName: `${transport}:${domain}`,
    recipients: [recipient(`u@${domain}`)],
    isQueued: false,
    isOpen: false,
  };
}

/** Requests of one message for one domain each. */
export function enqueueAll(
  scheduler: Scheduler,
  of: ActiveMessage,
  domains: readonly string[],
): void {
  for (const domain of domains) scheduler.enqueue(entry(domain, of));
}

/** The domains of what is taken, in order. */
export function takeDomains(scheduler: Scheduler, most: number, nowMs = 0): readonly string[] {
  return takeEntries(scheduler, most, nowMs).map(({ destination }) => destination.nexthop);
}

export function takeEntries(scheduler: Scheduler, most: number, nowMs = 0): readonly Entry[] {
  return scheduler.take(most, nowMs).flatMap((job) => job.entries);
}

export const noPace = { requests: 0, tookMs: 0 };

/** A job ends well: its requests are over, its place is free. */
export function endWell(scheduler: Scheduler, job: DeliveryJob, nowMs = 0): void {
  for (const one of job.entries) {
    scheduler.ended(job.slot, { kind: "good" }, nowMs);
    scheduler.over(one);
  }
  scheduler.release(job.slot, noPace, nowMs);
}
