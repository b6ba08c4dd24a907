/**
 * The transports that qmgr serves itself: `error` fails its recipients, `retry` defers them, `discard` counts them as
 * sent. No connection is made and no worker is asked, so that mass failure or deferral does not hold up delivery.
 *
 * Their next hop is the text of the outcome; for error and retry led by a status code: `error:5.1.1 no such user`.
 *
 * Source: spec S18; error(8), discard(8).
 */
import { enhancedStatus, parseEnhancedStatus } from "@postmq/vocabulary";
import type { Destination, EnhancedStatus } from "@postmq/vocabulary";

export type LocalOutcome = {
  readonly kind: "sent" | "deferred" | "failed";
  readonly status: EnhancedStatus;
  readonly reason: string;
};

/**
 * What becomes of recipients sent there, or undefined when the destination is for workers.
 *
 * @param softBounce soft_bounce: failures become deferrals with the status 4.x.x (D13)
 */
export function localOutcome(
  destination: Destination,
  softBounce: boolean,
): LocalOutcome | undefined {
  if (destination.transport === "error") {
    const failure = splitStatus(destination.nexthop, "5");
    if (!softBounce) return { kind: "failed", ...failure };
    return {
      kind: "deferred",
      status: enhancedStatus(`4${failure.status.slice(1)}`),
      reason: failure.reason,
    };
  }
  if (destination.transport === "retry") {
    return { kind: "deferred", ...splitStatus(destination.nexthop, "4") };
  }
  if (destination.transport === "discard") {
    return { kind: "sent", status: enhancedStatus("2.0.0"), reason: destination.nexthop };
  }
  return undefined;
}

/** A code of another class than the transport's is replaced (spec delivery.md §10, class rule). */
function splitStatus(
  text: string,
  statusClass: "4" | "5",
): { status: EnhancedStatus; reason: string } {
  const [first = "", ...rest] = text.trim().split(/\s+/);
  const given = parseEnhancedStatus(first);
  const reason = given === undefined ? text.trim() : rest.join(" ");
  const status =
    given?.startsWith(statusClass) === true ? given : enhancedStatus(`${statusClass}.0.0`);
  return { status, reason: reason === "" ? "Address is undeliverable" : reason };
}
