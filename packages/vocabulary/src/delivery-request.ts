/**
 * A delivery request: recipients of one message for one destination, to be delivered by one worker (S17).
 *
 * States: queued -> claimed -> dotSent -> (ended: it no longer exists). The generation is the request's own and
 * grows each time it is rung afresh, so that a late word about an earlier ring is told apart. Written out, with what
 * a crash between any two steps leaves behind, in docs/ARCHITECTURE.md.
 *
 * Source: DESIGN §3 "Requests".
 */
import type { QueueId } from "./queue-id.ts";

export const requestStates = ["queued", "claimed", "dotSent"] as const;
export type RequestState = (typeof requestStates)[number];

/** Names one generation of one request. `number` is unique within its message and never reused. */
export type RequestName = {
  readonly id: QueueId;
  readonly number: number;
  readonly generation: number;
};

/** Where a request goes: a delivery transport and its next hop. */
export type Destination = {
  /** e.g. smtp, relay, lmtp, error, retry. */
  readonly transport: string;
  /** e.g. example.com, [127.0.0.1]:2526; for error and retry: "status text". */
  readonly nexthop: string;
  /**
   * What its limits are kept under instead of the next hop: a name for the set of MX hosts that it shares with other
   * next hops. Absent: it counts by itself. Source: postmq's own, destination_grouping = mx.
   */
  readonly site?: string;
};

/** Transport and nexthop in lower case: where mail goes, whatever it counts as (S16; connections are kept by it, D25). */
export function destinationKey(destination: Destination): string {
  return `${destination.transport}:${destination.nexthop.toLowerCase()}`;
}
