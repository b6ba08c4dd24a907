/**
 * qmgr: the scheduler. Builds the parts from the parameters and runs them until the process drains.
 *
 * Source: DESIGN §4.
 */
import { transportParameter } from "@postmq/config";
import type { Parameters } from "@postmq/config";
import type { BellListener, DestinationReport } from "@postmq/queue-store";
import { openRouting, openSites } from "@postmq/routing";
import type { RoutingRules } from "@postmq/routing";
import type { Service, ServiceContext } from "@postmq/service-kit";
import type { QueueId } from "@postmq/vocabulary";
import { ActiveQueue } from "./active-queue.ts";
import { openMeters } from "./meters.ts";
import {
  oddSettings,
  poolRules,
  recipientLimit,
  schedulerOptions,
  shareKey,
} from "./scheduler-settings.ts";
import { DueTimes } from "./scheduler/due-times.ts";
import type { DestinationQueue } from "./scheduler/destination.ts";
import type { ImportSource } from "./scheduler/scan.ts";
import { Scheduler } from "./scheduler/scheduler.ts";
import { standByAndLead } from "./stand-by.ts";
import { Term } from "./term.ts";
import type { TermSettings } from "./term.ts";

/** How long a report may take to be queued before the message is deferred (Q6). */
const reportTimeoutMs = 60_000;

/** Starts as a stand-by; it is ready as such. */
export async function startQmgr(context: ServiceContext): Promise<Service> {
  const { parameters, store, log, metrics } = context;
  for (const warning of oddSettings(parameters)) log.warning(warning);
  const resolve = await openRouting(parameters, (text) => log.warning(text));
  const sites = openSites(parameters);
  if (sites === undefined && parameters.destination_grouping === "mx") {
    log.warning("destination_grouping = mx without DNS: each next hop counts by itself");
  }
  const routing: RoutingRules = {
    resolve,
    ...(sites === undefined ? {} : { siteOf: (destination) => sites.siteOf(destination) }),
    recipientLimit: (transport) =>
      transportParameter(parameters, transport, "destination_recipient_limit"),
    recipientDelimiter: parameters.recipient_delimiter,
  };
  const meters = openMeters(metrics);
  const leadership = store.leadership();
  const scheduling = store.scheduling();
  const looking = store.looking();
  const stopping = new AbortController();
  let term: Term | undefined;

  const lead = async (fence: string, signal: AbortSignal) => {
    const scheduler = new Scheduler(
      schedulerOptions(parameters, {
        onClogged: (queue, held) => warnOfClog(context, queue, held),
        onFeedback: (report) => logFeedback(context, report),
      }),
    );
    const dueTimes = new DueTimes(Math.random);
    term = new Term({
      fence,
      scheduling,
      leadership,
      scheduler,
      openActive: (onStuck) =>
        openActiveQueue({ parameters, routing, scheduler, dueTimes, onStuck }),
      clock: store.clock,
      log,
      meters,
      health: () => store.health(),
      countActive: async () =>
        (await looking.depths()).find(({ queue }) => queue === "active")?.messages ?? 0,
      openBells: (onRing) => openBells(context, onRing),
      every: repeat,
      siteLookup: sites && { sites, rules: routing },
      settings: termSettings(parameters),
    });
    try {
      await term.run(signal);
    } finally {
      term = undefined;
    }
  };

  const ended = standByAndLead(
    { leadership, lead, log, meters, random: Math.random },
    stopping.signal,
  );
  // Rejects only for a bug: left unhandled on purpose until drain, so that service-kit ends the process at once.
  return {
    listeners: [],
    notReady: () => term?.notReady(),
    drain: async () => {
      stopping.abort();
      await ended;
    },
  };
}

function openActiveQueue(options: {
  readonly parameters: Parameters;
  readonly routing: RoutingRules;
  readonly scheduler: Scheduler;
  readonly dueTimes: DueTimes;
  readonly onStuck: (id: QueueId) => void;
}): ActiveQueue {
  const { parameters, routing, scheduler, dueTimes, onStuck } = options;
  return new ActiveQueue({
    scheduler,
    grouping: {
      ...routing,
      softBounce: parameters.soft_bounce,
      deferTransports: new Set(parameters.defer_transports),
      isDoubleBounce: doubleBounceTest(parameters),
    },
    recipientLimit: recipientLimit(parameters),
    recipientMinimum: parameters.qmgr_message_recipient_minimum,
    poolOf: (transport) => poolRules(parameters, transport),
    shareKeyOf: (envelope) => shareKey(parameters, envelope),
    limits: {
      backoff: {
        minimalMs: parameters.minimal_backoff_time,
        maximalMs: parameters.maximal_backoff_time,
      },
      lifetime: {
        maximalMs: parameters.maximal_queue_lifetime,
        bounceMs: parameters.bounce_queue_lifetime,
      },
      delayWarningMs: parameters.delay_warning_time,
      dueAt: (nowMs, restMs) => dueTimes.add(nowMs, restMs),
      crashLimit: parameters.crash_limit,
    },
    checkAfterMs: parameters.sweep_interval,
    reportTimeoutMs,
    onStuck,
  });
}

function termSettings(parameters: Parameters): TermSettings {
  return {
    leaseMs: parameters.leader_lease_time,
    sweepIntervalMs: parameters.sweep_interval,
    activeLimit: parameters.qmgr_message_active_limit,
    recipientLimit: recipientLimit(parameters),
    recipientMinimum: parameters.qmgr_message_recipient_minimum,
    queueRunMs: parameters.queue_run_delay,
    transportRetryMs: parameters.transport_retry_time,
    ambiguous: parameters.ambiguous_delivery,
    delayDecimals: parameters.delay_logging_resolution_limit,
  };
}

/** Rings only say that there may be something; what there is stands in the indexes. */
function openBells(
  { store }: ServiceContext,
  onRing: (source: ImportSource) => void,
): Promise<readonly BellListener[]> {
  const listen = (source: "incoming" | "deferred") =>
    store.listen(source, { concurrency: 1 }, () => {
      onRing(source);
      return Promise.resolve();
    });
  return Promise.all([listen("incoming"), listen("deferred")]);
}

function repeat(everyMs: number, action: () => void): () => void {
  const timer = setInterval(action, everyMs);
  return () => clearInterval(timer);
}

/** The address that our own undeliverable notices go to, where mail for it ends here (S15). */
function doubleBounceTest(parameters: Parameters): (address: string) => boolean {
  const domains = [parameters.myorigin, ...parameters.mydestination];
  const local = parameters.double_bounce_sender.toLowerCase();
  const addresses = new Set(domains.map((domain) => `${local}@${domain.toLowerCase()}`));
  return (address) => address === local || addresses.has(address);
}

/** Source: spec S31; Postfix src/qmgr/qmgr_message.c "is using up". */
function warnOfClog({ parameters, log }: ServiceContext, queue: DestinationQueue, held: number) {
  const limit = parameters.qmgr_message_active_limit;
  const { transport, nexthop } = queue.destination;
  log.warning(`mail for ${nexthop} is using up ${held} of ${limit} active queue entries`);
  log.warning(`you may need to reduce ${transport} connect and helo timeouts, or to raise its`);
  log.warning(`destination_concurrency_limit; further mail for it waits in deferred meanwhile`);
}

/** Source: postconf(5) destination_concurrency_feedback_debug; Postfix src/qmgr/qmgr_queue.c QMGR_LOG_WINDOW. */
function logFeedback({ log }: ServiceContext, report: DestinationReport): void {
  const { name, limit, window, success, failure, failedCohorts } = report;
  log.info(
    `${name}: limit ${limit ?? 0} window ${window ?? 0} success ${success} failure ${failure} fail_cohorts ${failedCohorts}`,
  );
}
