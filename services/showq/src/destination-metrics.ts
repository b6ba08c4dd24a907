/**
 * The metrics of destinations: places taken and places there are at the busiest of them, and which are dead.
 *
 * Only the first of each are exported, so that the number of labels is bounded whatever mail comes; the whole is at
 * `/v1/destinations`. Of very many destinations only so many are looked at, in no order.
 *
 * Source: spec metrics.md "Native names" (top-K); P12.
 */
import type { GaugeMetric, Metrics } from "@postmq/observability";
import type { DestinationReport, Looking, Store } from "@postmq/queue-store";
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
    figures: (reports: readonly DestinationReport[]) => readonly Figure[],
  ) =>
    metrics.gauge(name, about, ["site", "instance_name"], async (gauge: GaugeMetric) => {
      gauge.reset();
      for (const { site, value } of figures(await destinations.read())) {
        gauge.set(value, { site, instance_name: instanceName });
      }
    });
  declare(
    "postmq_destination_slots_used",
    "Deliveries in flight at the 20 busiest destinations.",
    (reports) => busiest(reports).map(({ name, inFlight }) => ({ site: name, value: inFlight })),
  );
  declare(
    "postmq_destination_slots_limit",
    "Deliveries that may run at once at the 20 busiest destinations; absent where there is no limit.",
    (reports) =>
      busiest(reports).flatMap(({ name, window }) =>
        window === null ? [] : [{ site: name, value: window }],
      ),
  );
  declare(
    "postmq_destination_dead",
    "1 for each destination that is dead, the 20 that are so for longest.",
    (reports) => dead(reports, store.clock.nowMs()).map(({ name }) => ({ site: name, value: 1 })),
  );
}

type Figure = { readonly site: string; readonly value: number };

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
function busiest(reports: readonly DestinationReport[]): readonly DestinationReport[] {
  return reports
    .filter((report) => workAt(report) > 0)
    .toSorted((a, b) => workAt(b) - workAt(a) || (a.name < b.name ? -1 : 1))
    .slice(0, mostSites);
}

function workAt({ inFlight, waiting }: DestinationReport): number {
  return inFlight + waiting;
}

function dead(reports: readonly DestinationReport[], nowMs: number): readonly DestinationReport[] {
  return reports
    .filter((report) => isDead(report, nowMs))
    .toSorted((a, b) => (a.dead?.sinceMs ?? 0) - (b.dead?.sinceMs ?? 0))
    .slice(0, mostSites);
}
