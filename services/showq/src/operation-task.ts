/**
 * What an operation comes to: the acts and the selection that `runOperation` takes.
 *
 * Source: spec http-api.md §2 "an explicit `"all": true` for an empty selector".
 */
import {
  assertSensible,
  formatSelection,
  isEmptySelection,
  parseSelection,
} from "@postmq/queue-admin";

import { actsOfAction, pairsOf } from "./operation-request.ts";
import type { AskedOperation } from "./operation-request.ts";
import type { NamedTask } from "./operation-runner.ts";
import { refusal } from "./queue-query.ts";

/**
 * @param nowMs ages count from this moment: when it was asked for
 * @throws PMQ_USAGE for a selection that makes no sense, or an empty one that was not said to be meant
 */
export function namedTask(asked: AskedOperation, nowMs: number): NamedTask {
  const { action, select, all, isDryRun } = asked;
  const selection = parseSelection(pairsOf(select), { nowMs });
  const isEmpty = isEmptySelection(selection);
  if (isEmpty && !all) {
    throw refusal("select", 'is empty: add "all": true if every message is meant');
  }
  if (!isEmpty && all) throw refusal("all", "is only for an empty select");
  const task = { acts: actsOfAction(action), selection, isDryRun };
  if (action !== "move") assertSensible(task);
  const where = asked.to === undefined ? "" : ` to=${asked.to}`;
  return { task, selection: `${formatSelection(selection)}${where}` };
}
