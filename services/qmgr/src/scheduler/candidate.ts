/**
 * Which small job may overtake a big one, if any.
 *
 * Small mail passes big mail in bounded measure: a big job earns a slot for each `slot_cost` requests that it sends,
 * and spends slots on the requests of those that overtake it; so its own time grows by at most about 1/slot_cost. With
 * mail of one recipient no job is ever big enough, and the order is plain first in, first out.
 *
 * Source: spec S21, S22; Postfix src/qmgr/qmgr_job.c qmgr_job_candidate, qmgr_job_preempt.
 */
import type { Job } from "./job.ts";

export type SlotRules = {
  /** default_delivery_slot_cost; below 2: nobody overtakes. */
  readonly slotCost: number;
  /** default_delivery_slot_loan, in slots. */
  readonly slotLoan: number;
  /** default_delivery_slot_discount, in percent. */
  readonly slotDiscount: number;
  /** default_minimum_delivery_slots. */
  readonly minimumSlots: number;
};

/** Jobs looked at for one choice at most: a bound for queues full of jobs that can't be candidates. */
const mostLookedAt = 1000;

/** Whether a job is big enough, and has sent enough, to be overtaken at all. */
export function mayBeOvertaken(job: Job, rules: SlotRules): boolean {
  if (rules.slotCost < 2 || job.earned <= 0) return false;
  return isBig(job, rules);
}

function isBig(job: Job, rules: SlotRules): boolean {
  return job.mostRequests >= rules.minimumSlots * rules.slotCost;
}

/**
 * Whether a request of a later job may go along in one delivery job, past what waits of the job whose turn it is. A big
 * one must have earned something, and pays for it as for any that overtakes.
 *
 * Departs: Postfix sends one request at a time, and so has no such thing.
 */
export function payForCompany(current: Job, rules: SlotRules): boolean {
  if (rules.slotCost < 2 || current.isSent || !isBig(current, rules)) return true;
  if (current.earned <= 0) return false;
  current.earned -= rules.slotCost;
  return true;
}

/** The best job to overtake `current`, whether or not it can be paid for yet. */
export function bestCandidate(
  current: Job,
  jobs: Iterable<Job>,
  rules: SlotRules,
  nowMs: number,
): Job | undefined {
  const mostSlots = Math.floor((current.waiting + current.earned) / rules.slotCost);
  let best: Job | undefined;
  let bestScore = 0;
  let lookedAt = 0;
  for (const job of jobs) {
    lookedAt += 1;
    if (lookedAt > mostLookedAt) break;
    const waitedSeconds = Math.floor((nowMs - job.message.activeMs) / 1000) + 1;
    // Jobs come in the order of their arrival in active: no later one can score higher than its waiting time.
    if (waitedSeconds <= bestScore) break;
    const needed = job.mostRequests - job.selected;
    if (job === current || job.isOvertaken || needed <= 0 || needed > mostSlots) continue;
    const score = waitedSeconds / job.mostRequests;
    if (score > bestScore && !job.isBlocker) {
      best = job;
      bestScore = score;
    }
  }
  return best;
}

/** Whether `current` has earned enough for all that the candidate may send, loan and discount counted. */
export function canPayFor(current: Job, candidate: Job, rules: SlotRules): boolean {
  const slots = Math.floor(current.earned / rules.slotCost) + rules.slotLoan;
  const needed = candidate.mostRequests - candidate.selected;
  return slots >= (needed * (100 - rules.slotDiscount)) / 100;
}
