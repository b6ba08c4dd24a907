/**
 * How a destination's concurrency window follows what its deliveries report.
 *
 * A window grows at the end of 1/g good reports and shrinks at the start of 1/f bad ones; so many bad ones in a row as
 * make up `failed_cohort_limit` windows full declare the destination dead.
 *
 * Departs from Postfix in one guard against rounding, which there takes two steps on the first failure (S26).
 *
 * Source: spec S25 to S28; SCHEDULER_README "concurrency scheduling"; Postfix src/qmgr/qmgr_queue.c, qmgr_feedback.c.
 */
import type { ConcurrencyFeedback } from "@postmq/config";

export type WindowRules = {
  /** destination_concurrency_limit; 0: none. */
  readonly concurrencyLimit: number;
  /** initial_destination_concurrency. */
  readonly initialConcurrency: number;
  readonly positiveFeedback: ConcurrencyFeedback;
  readonly negativeFeedback: ConcurrencyFeedback;
  /** destination_concurrency_failed_cohort_limit; 0: never dead. */
  readonly failedCohortLimit: number;
};

/** window 0: dead. */
export type WindowState = {
  readonly window: number;
  readonly success: number;
  readonly failure: number;
  readonly failedCohorts: number;
};

/** S23: lowered to the limit if larger. */
export function initialWindow(rules: WindowRules): number {
  const { concurrencyLimit, initialConcurrency } = rules;
  return concurrencyLimit === 0
    ? initialConcurrency
    : Math.min(initialConcurrency, concurrencyLimit);
}

export function freshWindow(rules: WindowRules): WindowState {
  return { window: initialWindow(rules), success: 0, failure: 0, failedCohorts: 0 };
}

/** S28: back from the dead, with as much as runs, or as much as at first. */
export function revivedWindow(rules: WindowRules, busy: number): WindowState {
  return { ...freshWindow(rules), window: busy > 0 ? busy : initialWindow(rules) };
}

/** S25: after a request that reported no trouble with the site. @param busy places taken, its own included. */
export function afterGood(state: WindowState, rules: WindowRules, busy: number): WindowState {
  const { concurrencyLimit, positiveFeedback } = rules;
  let { window, success, failure } = state;
  const mayGrow = concurrencyLimit === 0 || window < concurrencyLimit;
  if (mayGrow && window < busy + initialWindow(rules)) {
    const amount = feedbackValue(positiveFeedback, window);
    success += amount;
    while (amount > 0 && rounded(success + amount / 2) >= 1) {
      window += 1;
      success -= 1;
      failure = 0;
    }
    if (concurrencyLimit > 0) window = Math.min(window, concurrencyLimit);
  }
  return { window, success, failure, failedCohorts: 0 };
}

/** S26: after a request that reported trouble with the site. */
export function afterTrouble(state: WindowState, rules: WindowRules): WindowState {
  const failedCohorts = state.failedCohorts + 1 / state.window;
  const { failedCohortLimit } = rules;
  if (failedCohortLimit > 0 && rounded(failedCohorts) >= failedCohortLimit) {
    return { ...state, window: 0, failedCohorts };
  }
  let { window, success, failure } = state;
  failure -= feedbackValue(rules.negativeFeedback, window);
  while (rounded(failure) < 0) {
    window -= 1;
    success = 0;
    failure += 1;
  }
  return { window: Math.max(1, window), success, failure, failedCohorts };
}

/** S27. */
export function feedbackValue(amount: ConcurrencyFeedback, window: number): number {
  switch (amount.kind) {
    case "fixed":
      return amount.value;
    case "concurrency":
      return amount.numerator / window;
    case "sqrtConcurrency":
      return amount.numerator / Math.sqrt(window);
    default:
      return amount satisfies never;
  }
}

/** Sums of thirds and sevenths must meet whole numbers: what is summed up is exact, what is compared is rounded. */
export function rounded(value: number): number {
  return Math.round(value * 1e9) / 1e9;
}
