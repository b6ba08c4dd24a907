/**
 * Outcomes rewritten by the operator: a table from "status text" to another, which may turn a bounce into a deferral and
 * back, but nothing into a success and no success into anything else.
 *
 * Source: spec D14; postconf(5) default_delivery_status_filter, smtp_delivery_status_filter; Postfix src/global/dsn_filter.c.
 */
import { parseEnhancedStatus } from "@postmq/vocabulary";
import type { RecipientOutcome } from "@postmq/vocabulary";

export type StatusFilter = (outcome: RecipientOutcome) => RecipientOutcome;

/**
 * @param lookup the table's value for "status text", or undefined
 * @param onProblem told of a value that can't be used; the outcome then stays
 */
export function statusFilter(
  lookup: (key: string) => string | undefined,
  onProblem: (text: string) => void,
): StatusFilter {
  return (outcome) => {
    const value = lookup(`${outcome.status} ${outcome.reason}`);
    if (value === undefined) return outcome;
    const [, code = "", reason = ""] = /^(\S+)\s+(\S[\s\S]*)$/.exec(value.trim()) ?? [];
    const status = parseEnhancedStatus(code);
    if (status === undefined) {
      onProblem(`delivery status filter: "${value}" is not a status and a text`);
      return outcome;
    }
    const isSuccess = status.startsWith("2");
    if (isSuccess !== (outcome.kind === "sent")) {
      onProblem(`delivery status filter: ${outcome.status} may not become ${status}`);
      return outcome;
    }
    if (isSuccess) return { ...outcome, status, reason };
    return { ...outcome, kind: status.startsWith("5") ? "failed" : "deferred", status, reason };
  };
}
