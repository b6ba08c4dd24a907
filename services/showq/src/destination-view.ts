/**
 * A destination as the HTTP API shows it: what the leader told of it last, and what follows from that.
 *
 * Source: spec http-api.md §2 "/v1/destinations"; S23 to S31.
 */
import type { DestinationReport } from "@postmq/queue-store";

import { optionalSeconds, seconds } from "./seconds.ts";

export function destinationView(report: DestinationReport, nowMs: number): object {
  const { name, destination, window, limit, inFlight, waiting, surplus } = report;
  const { pausedUntilMs, lastTrouble, endedPerMinute } = report;
  const dead = isDead(report, nowMs) ? report.dead : undefined;
  const etaSeconds = eta(report, nowMs);
  return {
    name,
    transport: destination.transport,
    nexthop: destination.nexthop,
    window,
    limit,
    in_flight: inFlight,
    waiting,
    surplus,
    dead: dead !== undefined,
    ...(dead === undefined
      ? {}
      : {
          dead_since: seconds(dead.sinceMs),
          dead_until: seconds(dead.untilMs),
          dead_status: dead.status,
          dead_reason: dead.reason,
        }),
    ...optionalSeconds("paused_until", isAhead(pausedUntilMs, nowMs) ? pausedUntilMs : undefined),
    ...(lastTrouble === undefined
      ? {}
      : {
          last_reply: {
            time: seconds(lastTrouble.atMs),
            status: lastTrouble.status,
            text: lastTrouble.reason,
          },
        }),
    rate_per_minute: endedPerMinute,
    ...(etaSeconds === undefined ? {} : { eta_seconds: etaSeconds }),
    updated: seconds(report.updatedMs),
  };
}

/** Dead now: a mark whose time is over counts no more, whenever the leader takes it away (S28). */
export function isDead({ dead }: Pick<DestinationReport, "dead">, nowMs: number): boolean {
  return isAhead(dead?.untilMs, nowMs);
}

/** How long what waits here will take at the rate of the last minute; undefined where that tells nothing. */
function eta(report: DestinationReport, nowMs: number): number | undefined {
  const left = report.waiting + report.inFlight;
  if (report.endedPerMinute <= 0 || left === 0 || isDead(report, nowMs)) return undefined;
  return Math.ceil((left / report.endedPerMinute) * 60);
}

function isAhead(atMs: number | undefined, nowMs: number): boolean {
  return atMs !== undefined && atMs > nowMs;
}
