/**
 * Notes of what was asked of the queue over HTTP: a line in the log, and an entry in the audit log.
 *
 * What people typed stands in the line as a JSON string, so that none of it can pass for a field of its own.
 */
import { printable } from "@postmq/observability";
import type { Log } from "@postmq/observability";
import type { AuditEntry, Auditing } from "@postmq/queue-store";

/** A selection of very many ids would fill the log. */
const longestSelection = 1_000;

export type Audit = (entry: Omit<AuditEntry, "atMs" | "by">) => Promise<void>;

export function openAudit(auditing: Auditing, log: Log): Audit {
  return (entry) => {
    const { who, action, selection, reason, operation, outcome, count } = entry;
    const about = operation === undefined ? "" : ` operation=${operation}`;
    const counted = count === undefined ? "" : ` count=${count}`;
    log.info(
      `audit: who=${word(who)} by=http action=${word(action)}${about} outcome=${outcome}${counted} ` +
        `selection=${quoted(selection.slice(0, longestSelection))} reason=${quoted(reason)}`,
    );
    return auditing.audit({ ...entry, by: "http" });
  };
}

/** A name as it is; whatever else was kept with an operation is quoted. */
function word(text: string): string {
  return /^[\w-]+$/.test(text) ? text : quoted(text);
}

function quoted(text: string): string {
  return JSON.stringify(printable(text));
}
