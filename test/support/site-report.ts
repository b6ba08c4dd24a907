/** What the scheduler tells of a site, as `GET /v1/destinations/{site}` has it. Source: spec http-api.md §2. */
import assert from "node:assert/strict";

import type { PostmqSystem } from "@postmq/testing";

export type SiteReport = {
  /** Requests that wait for a place. */
  readonly waiting: number;
  /** Places that deliveries hold. */
  readonly inFlight: number;
  readonly isDead: boolean;
};

/** @returns nothing waiting, nothing in flight for one that the scheduler does not know */
export async function siteReport(system: PostmqSystem, nexthop: string): Promise<SiteReport> {
  const name = encodeURIComponent(`smtp:${nexthop}`);
  const response = await fetch(`${system.adminUrl}/v1/destinations/${name}`);
  if (response.status === 404) return { waiting: 0, inFlight: 0, isDead: false };
  const { destinations } = parse(await response.json());
  return {
    waiting: destinations.reduce((sum, each) => sum + each.waiting, 0),
    inFlight: destinations.reduce((sum, each) => sum + each.in_flight, 0),
    isDead: destinations.some(({ dead }) => dead),
  };
}

type Answer = {
  readonly destinations: readonly {
    readonly waiting: number;
    readonly in_flight: number;
    readonly dead: boolean;
  }[];
};

function parse(value: unknown): Answer {
  assert.ok(typeof value === "object" && value !== null && "destinations" in value);
  return value as Answer;
}
