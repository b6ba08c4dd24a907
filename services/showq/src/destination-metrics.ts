/**
 * The metrics of destinations: places taken and places there are at the busiest of them, and which are dead.
 *
 * Only the first of each are exported, so that the number of labels is bounded whatever mail comes; the whole is at
 * `/v1/destinations`. Of very many destinations only so many are looked at, in no order.
 *
 * Where limits are per recipient the name of a destination has the recipient's address, which is no label: those of one
 * transport and next hop are summed.
 *
 * Source: spec metrics.md "Native names" (top-K); spec security.md 11; P12.
 */
import type { GaugeMetric, Metrics } from "@postmq/observability";
import type { DestinationReport, Looking, Store } from "@postmq/queue-store";
import { destinationKey } from "@postmq/vocabulary";
import type { Destination } from "@postmq/vocabulary";
import { CachedReading } from "./cached-reading.ts";
import { isDead } from "./destination-view.ts";

/** Labels of each metric at most. */
const mostSites = 20;
/** Destinations looked at for a scrape: some 3 MB of JSON. */
const mostRead = 5_000;
const pageSize = 1_000;

export function declareDestinationMetrics(metrics: Metrics, store: Store, looking: Looking): void {
  const destinations = new CachedReading(store, () => readDestinations(looking));
  const { instanceName } = store;
  const declare = (
    name: string,
    about: string,
    figures: (sites: readonly Site[]) => readonly Figure[],
  ) =>
    metrics.gauge(name, about, ["site", "instance_name"], async (gauge: GaugeMetric) => {
      gauge.reset();
      for (const { site, value } of figures(
        sitesOf(await destinations.read(), store.clock.nowMs()),
      )) {
        gauge.set(value, { site, instance_name: instanceName });
      }
    });
  declare(
    "postmq_destination_slots_used",
    "Deliveries in flight at the 20 busiest destinations.",
    (sites) => busiest(sites).map(({ name, inFlight }) => ({ site: name, value: inFlight })),
  );
  declare(
    "postmq_destination_slots_limit",
    "Deliveries that may run at once at the 20 busiest destinations; absent where there is no limit.",
    (sites) =>
      busiest(sites).flatMap(({ name, window }) =>
        window === null ? [] : [{ site: name, value: window }],
      ),
  );
  declare(
    "postmq_destination_dead",
    "Dead destinations of each site: 1, or how many recipients' where limits are per recipient; the 20 that are so for longest.",
    (sites) => longestDead(sites).map(({ name, dead }) => ({ site: name, value: dead })),
  );
}

type Figure = { readonly site: string; readonly value: number };

/** A destination, or all that differ by their recipient alone. */
type Site = Pick<DestinationReport, "window" | "inFlight" | "waiting"> & {
  /** A label: it names no recipient. */
  readonly name: string;
  /** How many of its destinations are dead, and since when the first of them is. */
  readonly dead: number;
  readonly deadSinceMs: number;
};

function sitesOf(reports: readonly DestinationReport[], nowMs: number): readonly Site[] {
  const sites = new Map<string, Site>();
  for (const report of reports) {
    const site = siteOf(report, nowMs);
    const known = sites.get(site.name);
    sites.set(site.name, known === undefined ? site : sum(known, site));
  }
  return [...sites.values()];
}

function siteOf(report: DestinationReport, nowMs: number): Site {
  const { name, destination, window, inFlight, waiting } = report;
  const isDeadNow = isDead(report, nowMs);
  return {
    name: labelOf(name, destination),
    window,
    inFlight,
    waiting,
    dead: isDeadNow ? 1 : 0,
    deadSinceMs: isDeadNow ? (report.dead?.sinceMs ?? 0) : Number.POSITIVE_INFINITY,
  };
}

/** What has no `@` names no recipient. The next hop of `error` and `retry` is a text, which may have one. */
function labelOf(name: string, destination: Destination): string {
  const names = [name, destinationKey(destination)];
  return names.find((each) => !each.includes("@")) ?? destination.transport;
}

function sum(a: Site, b: Site): Site {
  return {
    name: a.name,
    window: a.window === null || b.window === null ? null : a.window + b.window,
    inFlight: a.inFlight + b.inFlight,
    waiting: a.waiting + b.waiting,
    dead: a.dead + b.dead,
    deadSinceMs: Math.min(a.deadSinceMs, b.deadSinceMs),
  };
}

/** None while nobody leads: what the last leader left must not pass for new. */
async function readDestinations(looking: Looking): Promise<readonly DestinationReport[]> {
  if ((await looking.scheduler()) === undefined) return [];
  const found: DestinationReport[] = [];
  let cursor: string | undefined;
  do {
    const page = await looking.destinations({
      limit: pageSize,
      ...(cursor === undefined ? {} : { cursor }),
    });
    found.push(...page.destinations);
    cursor = page.cursor;
  } while (cursor !== undefined && found.length < mostRead);
  return found;
}

/** Those with the most work, by name among equals so that a scrape is like the one before. */
function busiest(sites: readonly Site[]): readonly Site[] {
  return sites
    .filter((site) => workAt(site) > 0)
    .toSorted((a, b) => workAt(b) - workAt(a) || (a.name < b.name ? -1 : 1))
    .slice(0, mostSites);
}

function workAt({ inFlight, waiting }: Site): number {
  return inFlight + waiting;
}

function longestDead(sites: readonly Site[]): readonly Site[] {
  return sites
    .filter(({ dead }) => dead > 0)
    .toSorted((a, b) => a.deadSinceMs - b.deadSinceMs)
    .slice(0, mostSites);
}
