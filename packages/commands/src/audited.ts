/**
 * Notes in the audit log of what a command changes: who (the user's name), by which command, what and why.
 *
 * A note that can't be written keeps nobody from the change itself: in a store that is full, deleting mail is what helps.
 *
 * Source: spec http-api.md §2 "every mutating call takes `reason`, is audited".
 */
import type { AuditEntry, Auditing } from "@postmq/queue-store";
import { isPostmqError } from "@postmq/vocabulary";

import type { CommandContext } from "./command.ts";

export type Noted = Pick<AuditEntry, "action" | "selection" | "outcome" | "count"> & {
  /** Why, if somebody said so. */
  readonly reason?: string;
};

export async function note(
  auditing: Auditing,
  context: Pick<CommandContext, "name" | "user" | "complain">,
  { reason = "", ...noted }: Noted,
): Promise<void> {
  try {
    await auditing.audit({ who: context.user.name, by: context.name, reason, ...noted });
  } catch (error) {
    if (!isPostmqError(error)) throw error;
    context.complain(`${context.name}: warning: no note in the audit log: ${error.message}\n`);
  }
}

/** Does what was noted as started; if it fails, that is noted, too. A store that went away leaves the beginning alone. */
export async function notingFailure<Result>(
  noteFailure: () => Promise<void>,
  use: () => Promise<Result>,
): Promise<Result> {
  try {
    return await use();
  } catch (error) {
    await noteFailure();
    throw error;
  }
}
