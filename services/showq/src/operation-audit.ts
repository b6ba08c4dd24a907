/** Notes of what was asked of the queue over HTTP: a line in the log, and an entry in the audit log. */
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
      `audit: who=${who} by=http action=${action}${about} outcome=${outcome}${counted} ` +
        `selection="${selection.slice(0, longestSelection)}" reason="${reason}"`,
    );
    return auditing.audit({ ...entry, by: "http" });
  };
}
