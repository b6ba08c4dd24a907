/**
 * Ways to take a rule of docs/spec/scheduling.md out of the code, each with the tests that must notice.
 *
 * Each names a text that stands exactly once in its file; in its place stands what a programmer who did not know the
 * rule might have written. Only rules that pure tests show: those that Lua scripts keep are tested against Redis.
 */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";

export type RuleMutation = {
  readonly rule: string;
  readonly file: string;
  readonly text: string;
  readonly becomes: string;
  readonly tests: readonly string[];
};

/** The folder that is copied: a package or a service. */
export function workspaceOf({ file }: RuleMutation): string {
  return file.split("/").slice(0, 2).join("/");
}

/** The file with the rule taken out. */
export function mutated(checkout: string, { rule, file, text, becomes }: RuleMutation): string {
  const parts = readFileSync(join(checkout, file), "utf8").split(text);
  assert.equal(parts.length, 2, `${rule}: ${JSON.stringify(text)} must stand once in ${file}`);
  return parts.join(becomes);
}

const scheduler = "services/qmgr/src/scheduler";
const qmgr = "services/qmgr/src";
const inATerm = `${qmgr}/rules-of-a-term.test.ts`;

/** In a file of the scheduler, noticed by the tests beside it unless others are named. */
function of(
  rule: string,
  noun: string,
  text: string,
  becomes: string,
  tests = [`${scheduler}/${noun}.test.ts`],
): RuleMutation {
  return { rule, file: `${scheduler}/${noun}.ts`, text, becomes, tests };
}

/** In another file of qmgr. */
function beside(
  rule: string,
  noun: string,
  text: string,
  becomes: string,
  tests = [`${qmgr}/${noun}.test.ts`],
): RuleMutation {
  return { rule, file: `${qmgr}/${noun}.ts`, text, becomes, tests };
}

const bySchedulerTests = [`${scheduler}/scheduler.test.ts`];

export const ruleMutations: readonly RuleMutation[] = [
  of("S1", "scan", "this.#next = other(source);", "this.#next = source;"),
  of("S2", "scan", '    this.#next = "incoming";\n', ""),
  of("S3", "scan", "if (source !== undefined) this.#wanted.delete(source);", ""),
  of("S4", "scan", "    this.#flushMs = undefined;\n", ""),
  of("S5", "backoff", "Math.min(ageMs, limits.maximalMs)", "ageMs"),
  of("S6", "due-times", "isCrowded ? exactMs + restMs * spreadPart * this.#random() : ", ""),
  beside("S6", "term", '      this.#fullPass = "";\n', "", [inATerm]),
  beside(
    "S7",
    "active-queue",
    "        message.deferred += event.deferred;\n",
    "        if (event.deferred > 0) return this.#takeBack(entry);\n",
    [`${qmgr}/term.test.ts`],
  ),
  beside(
    "S8",
    "scheduler-settings",
    "if (parameters.queue_run_delay > parameters.minimal_backoff_time) {",
    "if (parameters.queue_run_delay > parameters.maximal_backoff_time) {",
  ),
  beside("S9", "settlement", "nowMs - message.createdMs", "nowMs - message.activeMs", [inATerm]),
  beside(
    "S10",
    "lifetime",
    'message.sender === "" ? Math.min(limits.bounceMs, limits.maximalMs) : ',
    "",
  ),
  beside("S11", "settlement", "!message.wasTried || ", ""),
  beside("S12", "settlement", "message.isForceExpired || isExpired(", "isExpired("),
  beside("S13", "settlement", ' || message.sender === "" || message.wasWarned', ""),
  beside("S13", "settlement", " - warningSlackMs", "", [inATerm]),
  beside("S14", "grouping", "if (routed.length > 1) routed.sort(byDestination);", ""),
  beside("S15", "grouping", "if (message.isForceExpired) return forceExpired;", ""),
  beside("S15", "grouping", " ??\n      (suspension && deferredAs(suspension))", ""),
  {
    rule: "S16",
    file: "packages/routing/src/queue-name.ts",
    text: "if (rules.recipientLimit(transport) !== 1) {",
    becomes: "if (transport !== undefined) {",
    tests: ["packages/routing/src/queue-name.test.ts"],
  },
  beside("S17", "grouping", "limit === 0 || (last?.recipients.length ?? 0) < limit", "true"),
  beside("S17", "grouping", "isSingleRecipient ? 1 : rules", "rules"),
  beside("S18", "grouping", "if (local !== undefined) return local;", ""),
  of("S19", "scheduler", "      this.#turns.delete(transport);\n", ""),
  of("S19", "transport", "|| a.turn - b.turn", "", bySchedulerTests),
  of("S20", "candidate", "score > bestScore && !job.isBlocker", "score > bestScore"),
  of(
    "S20",
    "scheduler",
    "    this.#wakeLater(transport);\n    transport.settle(destination);\n",
    "",
  ),
  of("S20", "candidates", "job !== undefined && !this.#setAside(job)", "job !== undefined"),
  of("S21", "candidate", "rules.slotCost < 2 || job.earned <= 0", "rules.slotCost < 2"),
  of("S21", "candidate", " || needed > mostSlots", ""),
  of("S21", "candidate", "slots >= (needed * (100 - rules.slotDiscount)) / 100", "slots >= needed"),
  of("S21", "candidate", "+ rules.slotLoan;", ";"),
  of("S21", "transport", " || !this.#mayComeAlong(peer)", "", [`${scheduler}/properties.test.ts`]),
  of("S21", "job", "    overtaken.earned -= expected * slotCost;\n", ""),
  of("S21", "job", "      parent.earned -= this.overuse * slotCost;\n", ""),
  of("S21", "job", "this.key = [...overtaken.key, overtaken.overtakings];", ""),
  of(
    "S22",
    "candidate",
    "return job.mostRequests >= rules.minimumSlots * rules.slotCost;",
    "return true;",
  ),
  of("S23", "feedback", "Math.min(initialConcurrency, concurrencyLimit)", "initialConcurrency"),
  of("S23", "scheduler", "    queue.rest();\n", ""),
  of("S24", "destination", "this.busy < this.window &&", "this.busy <= this.window &&"),
  of("S25", "feedback", "mayGrow && window < busy + initialWindow(rules)", "mayGrow"),
  of(
    "S25",
    "feedback",
    "failure, failedCohorts: 0 };\n}\n\n/** S26",
    "failure, failedCohorts: state.failedCohorts };\n}\n\n/** S26",
  ),
  of("S26", "feedback", "1 / state.window", "1 / initialWindow(rules)"),
  of("S26", "feedback", "rounded(failedCohorts) >=", "failedCohorts >="),
  of("S27", "feedback", "return amount.numerator / window;", "return amount.numerator;"),
  of("S27", "feedback", "failedCohortLimit > 0 && rounded", "rounded"),
  {
    rule: "S27",
    file: "packages/config/src/parameter-kinds.ts",
    text: "onWarning?.(`it must be ${bounds}; 1 is used`);",
    becomes: "",
    tests: ["packages/config/src/load-parameters.test.ts"],
  },
  of("S28", "feedback", "busy > 0 ? busy : initialWindow(rules)", "initialWindow(rules)"),
  of("S28", "destination", "reason: `delivery temporarily suspended: ${reason}`", "reason"),
  of("S28", "destination", "if (this.isDead) this.#revive();\n        else ", ""),
  of(
    "S29",
    "scheduler",
    "for (const queue of [...this.#destinations.values()]) this.#lift(queue);",
    "",
  ),
  beside("S29", "term", "this.#parts.scheduler.liftAll();\n    this.#scan", "this.#scan", [
    inATerm,
  ]),
  of(
    "S30",
    "destination",
    "if (this.rules.rateDelayMs > 0) this.#paused",
    "if (this.isDead) this.#paused",
  ),
  of("S30", "destination", "      this.#revive();\n      return false;\n", ""),
  of(
    "S30",
    "transport",
    "    if (this.rules.rateDelayMs > 0 && this.busy > 0) return false;\n",
    "",
    bySchedulerTests,
  ),
  beside("S30", "scheduler-settings", "rateDelayMs > 0 ? 1 : ", ""),
  of("S31", "scheduler", "queue === undefined || queue.openPeers.size < this.#share", "true"),
  of("S31", "scheduler", " || nowMs < queue.warnedMs + clogWarnMs", ""),
  of("S31", "surplus", "Math.min(away - called, this.#share - held, left)", "away - called"),
  beside("S31", "active-queue", "      message.surplusOf = surplusOf;\n", "", [inATerm]),
  of("S32", "destination", "else if (this.busy === 1) this.#keepsConnection = false;", ""),
  of("S32", "destination", "nowMs <= this.#lastDoneMs + backToBackMs", "this.busy > 1"),
  {
    rule: "S33",
    file: "packages/service-kit/src/in-flow-delay.ts",
    text: "this.#waits.size === 0 && !this.#flow.flowIsDry()",
    becomes: "false",
    tests: ["packages/service-kit/src/in-flow-delay.test.ts"],
  },
  of(
    "S35",
    "scheduler",
    ".flatMap((destination) => this.#drain(destination));",
    ".flatMap(() => []);",
  ),
  of("S35", "scheduler", "this.#transports.get(destination.transport)?.throttled ??", ""),
  beside(
    "S35",
    "term",
    "      this.#noWorkerSinceMs = undefined;\n      for",
    "      return;\n      for",
    [inATerm],
  ),
  beside("S36", "grouping", " && !message.isFlushed", ""),
  of("S37", "scan", '    this.want("incoming");\n', ""),
  of("S38", "scan", "Math.max(this.#flushMs ?? 0, requestedMs)", "requestedMs"),
];
