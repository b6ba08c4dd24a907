/**
 * qshape: how many recipients wait for each domain, by age.
 *
 * Source: spec admin-tools.md §5; qshape(1).
 */
import { basename } from "node:path";

import {
  defaultQshapeLayout,
  qshapeAgeLimits,
  qshapeTable,
  whileReachable,
} from "@postmq/queue-admin";
import type { QshapeLayout } from "@postmq/queue-admin";
import { exitCodes, isMessageQueue } from "@postmq/vocabulary";
import type { MessageQueue } from "@postmq/vocabulary";

import { CommandFailure } from "./command.ts";
import type { CommandContext } from "./command.ts";
import { getopt, lastValue } from "./getopt.ts";
import type { GivenArguments } from "./getopt.ts";
import { withQueue } from "./open-queue.ts";
import { readParameters } from "./read-parameters.ts";
import { assertAllowed } from "./user-access.ts";

const usageText = `usage: qshape [-s] [-p] [-m <min_subdomains>] [-b <bucket_count>] [-t <bucket_time>]
              [-l] [-w <terminal_width>] [-n <batch_top_domains>] [-N <batch_msg_count>]
              [-c <config_directory>] [<queue_name> ...]

  -s  count messages by sender domain, not recipients by recipient domain
  -p  show parent domains too, those with at least -m (5) subdomains
  -b  number of age buckets (10); -t  upper bound of the first one in minutes (5); -l  all of equal width
  -w  width of the table (80, and no less)
  -n  rows shown on a terminal (20); -N  taken for compatibility: the counts come at once

The default queues are incoming and active.
`;
const openWithinMs = 3_000;
const minSubdomains = 5;
const terminalRows = 20;

export async function qshape(context: CommandContext): Promise<number> {
  const given = getoptOrUsage(context.args);
  if (given.options.some(({ letter }) => letter === "h")) {
    context.print(usageText);
    return exitCodes.ok;
  }
  const parameters = readParameters(context.env, lastValue(given, "c"));
  const items = parameters.authorized_mailq_users;
  assertAllowed(
    context.user,
    { parameter: "authorized_mailq_users", items },
    "view the mail queue",
  );
  const layout = layoutOf(given, context.isTerminal);
  const queues = queuesOf(given.operands, context.complain);
  await withQueue(parameters, { command: "qshape", withinMs: openWithinMs }, async (store) => {
    const looking = store.looking();
    const read = () =>
      looking.qshape({
        queues,
        by: given.options.some(({ letter }) => letter === "s") ? "sender" : "recipient",
        ageLimitsMs: qshapeAgeLimits(layout),
        nowMs: store.clock.nowMs(),
      });
    context.print(qshapeTable(await whileReachable(store, read), layout));
  });
  return exitCodes.ok;
}

function getoptOrUsage(args: readonly string[]): GivenArguments {
  try {
    return getopt(args, "lhc:psw:b:t:m:n:N:");
  } catch (error) {
    if (!(error instanceof CommandFailure)) throw error;
    throw new CommandFailure(exitCodes.usage, `${error.message}\n${usageText}`, error);
  }
}

function layoutOf(given: GivenArguments, isTerminal: boolean): QshapeLayout {
  const isSet = (letter: string) => given.options.some((option) => option.letter === letter);
  return {
    bucketCount: positive(given, "b") ?? defaultQshapeLayout.bucketCount,
    unitMinutes: positive(given, "t") ?? defaultQshapeLayout.unitMinutes,
    isLinear: isSet("l"),
    width: positive(given, "w") ?? defaultQshapeLayout.width,
    ...(isTerminal ? { maxRows: positive(given, "n") ?? terminalRows } : {}),
    ...(isSet("p") ? { minSubdomains: positive(given, "m") ?? minSubdomains } : {}),
  };
}

/** The number given for an option; undefined when it is not given, or 0, which stands for the default. */
function positive(given: GivenArguments, letter: string): number | undefined {
  const value = lastValue(given, letter);
  if (value === undefined) return undefined;
  if (!/^\d{1,4}$/.test(value)) {
    throw new CommandFailure(exitCodes.usage, `-${letter} needs a whole number below 10000`);
  }
  return Number(value) || undefined;
}

/** Operands may be paths: `/var/spool/postfix/deferred` means deferred. An unknown one is skipped, as in Postfix. */
function queuesOf(
  operands: readonly string[],
  complain: (text: string) => void,
): readonly MessageQueue[] {
  if (operands.length === 0) return ["incoming", "active"];
  const queues = operands.flatMap((operand) => {
    const name = operand.startsWith("/") ? basename(operand) : operand;
    if (isMessageQueue(name)) return [name];
    complain(`Can't stat ${operand}: No such file or directory\n`);
    return [];
  });
  return [...new Set(queues)];
}
