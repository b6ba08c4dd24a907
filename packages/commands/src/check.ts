/**
 * `postmq check`: holds everything of a queue system against its messages' records, on a running system, and mends what
 * does not agree when asked to.
 *
 * Source: spec admin-tools.md §6; DESIGN §3; spec faults.md "Invariants to scan at any quiet moment".
 */
import { parseArgs } from "node:util";

import { checkQueues, printable, whileReachable } from "@postmq/queue-admin";
import type { CheckResult } from "@postmq/queue-admin";
import type { Finding, Store } from "@postmq/queue-store";
import { exitCodes } from "@postmq/vocabulary";

import { note } from "./audited.ts";
import { CommandFailure } from "./command.ts";
import type { CommandContext } from "./command.ts";
import { inInstance } from "./instance-option.ts";
import { withQueue } from "./open-queue.ts";
import { readParameters } from "./read-parameters.ts";
import { assertAllowed } from "./user-access.ts";

const usageText = `usage: postmq check [--repair] [--json] [-v] [-c config] [--instance NAME]

Holds indexes, contents, counts, requests and moves against the messages' records, while mail flows.
  --repair  mends what does not agree: the record is the truth; what can't be read goes to corrupt
  --json    one object a line: findings, then {"summary": ...}
  -v        tells how far it is
Exit status: 0 nothing is wrong (any more), 65 something is.
`;
const openWithinMs = 3_000;
const tellEvery = 100_000;

export async function check(context: CommandContext): Promise<number> {
  const given = parsed(context.args);
  if (given.help === true) {
    context.print(usageText);
    return exitCodes.ok;
  }
  const parameters = readParameters(context.env, given.config);
  const items = parameters.authorized_mailq_users;
  assertAllowed(context.user, { parameter: "authorized_mailq_users", items }, "check the queue");
  const form = given.json === true ? json : text;
  const run = async (store: Store) => {
    const steps = checkQueues(store, {
      isMending: given.repair === true,
      onCount: given.verbose === true ? progress(context) : () => undefined,
      withInstance: (name, use) =>
        withQueue(
          readParameters(inInstance(name, context.env), given.config),
          { command: "check", withinMs: openWithinMs },
          (there) => use(there.copying()),
        ),
    });
    let [findings, mended] = [0, 0];
    const auditing = store.auditing();
    const told = (outcome: "started" | "done", count?: number) =>
      note(auditing, context, {
        action: "check --repair",
        selection: "all",
        outcome,
        ...(count === undefined ? {} : { count }),
      });
    if (given.repair === true) await told("started");
    for (;;) {
      const step = await steps.next();
      if (step.done === true) {
        if (given.repair === true) await told("done", mended);
        await context.stream(form.summary(step.value, findings));
        return step.value.isClean ? exitCodes.ok : exitCodes.dataErr;
      }
      findings += 1;
      if (step.value.outcome === "mended") mended += 1;
      await context.stream(form.finding(step.value));
    }
  };
  return await withQueue(parameters, { command: "check", withinMs: openWithinMs }, (store) =>
    whileReachable(store, () => run(store)),
  );
}

function parsed(args: readonly string[]) {
  try {
    return parseArgs({
      args: [...args],
      options: {
        repair: { type: "boolean" },
        json: { type: "boolean" },
        verbose: { type: "boolean", short: "v" },
        config: { type: "string", short: "c" },
        help: { type: "boolean", short: "h" },
      },
    }).values;
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new CommandFailure(exitCodes.usage, `${printable(reason)}\n${usageText}`, cause);
  }
}

/** A line for each hundred thousand messages. */
function progress(context: CommandContext): (messages: number) => void {
  let told = 0;
  return (messages) => {
    if (messages - told < tellEvery) return;
    told = messages;
    context.complain(`check: ${messages} messages so far\n`);
  };
}

const outcomes = { found: "", mended: " (mended)", left: " (could not be mended)" } as const;

const text = {
  finding: ({ where, text: what, outcome }: Finding) =>
    `${printable(where)}: ${printable(what)}${outcomes[outcome]}\n`,
  summary: ({ counts, isClean, notices }: CheckResult, findings: number) =>
    [
      ...notices,
      `${counts.messages} messages, ${counts.contents} contents, ${counts.indexes} indexes, ` +
        `${counts.liveClaims} claims: ` +
        (findings === 0
          ? "nothing is wrong"
          : `${findings} findings${isClean ? ", nothing is wrong any more" : ""}`),
    ]
      .map((line) => `-- ${line}.\n`)
      .join(""),
};

const json = {
  finding: ({ kind, where, text: what, outcome }: Finding) =>
    `${JSON.stringify({ kind, where: printable(where), text: printable(what), outcome })}\n`,
  summary: ({ counts, isClean, notices }: CheckResult, findings: number) =>
    `${JSON.stringify({
      summary: {
        messages: counts.messages,
        contents: counts.contents,
        indexes: counts.indexes,
        live_claims: counts.liveClaims,
        dead_claims: counts.deadClaims,
        findings,
        is_clean: isClean,
        notices,
      },
    })}\n`,
};
