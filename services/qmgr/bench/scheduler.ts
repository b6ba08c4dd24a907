/**
 * Micro-benchmark: scheduling decisions a second of the scheduler alone, in this process, without a store.
 *
 * Run: `npx node services/qmgr/bench/scheduler.ts [requests]`. A decision is a request's whole way through the
 * scheduler: enqueued, taken, ended with its feedback, over, its place given back. Requests go one in a job (the
 * dearest way), and in jobs that grow with the backlog (as in service).
 * Seconds are those of CPU, so that others on the machine count little.
 */
import {
  message,
  openScheduler,
  entry,
  fixedWindow,
  noPace,
  rules,
} from "../src/scheduler/scheduling.test-support.ts";
import type { ActiveMessage } from "../src/message.ts";
import type { Entry } from "../src/scheduler/entry.ts";
import type { DeliveryJob, Scheduler } from "../src/scheduler/scheduler.ts";
import { jobSize } from "../src/scheduler/job-size.ts";

const total = Number(process.argv[2] ?? 100_000);
const wanted = 20_000;
/** Requests under way: as many as 50 deliveries keep busy. */
const outAtOnce = 100;

type Scene = {
  readonly name: string;
  /** What waits before the clock starts; returned: the next request whenever one has ended. */
  readonly prepare: (scheduler: Scheduler) => (nowMs: number, ended: Entry) => void;
  readonly open?: (sizeOfJob: typeof jobSize) => Scheduler;
};

function add(scheduler: Scheduler, domain: string, of: ActiveMessage = message()): void {
  scheduler.enqueue(entry(domain, of));
}

/** Always so many waiting. */
function steady(domainOf: (n: number) => string, waiting: number): Scene["prepare"] {
  return (scheduler) => {
    let made = 0;
    const next = (nowMs: number): void => {
      made += 1;
      add(scheduler, domainOf(made), message({ activeMs: nowMs }));
    };
    for (let n = 0; n < waiting; n += 1) next(0);
    return next;
  };
}

const scenes: readonly Scene[] = [
  { name: "one destination, 1 000 wait", prepare: steady(() => "one.example", 1000) },
  {
    name: "1 000 destinations, 10 000 wait",
    prepare: steady((n) => `d${n % 1000}.example`, 10_000),
  },
  {
    name: "20 000 active, 4 000 of them at a full destination",
    prepare: (scheduler) => {
      blockAtFull(scheduler, 4000);
      return steady((n) => `d${n % 500}.example`, 16_000)(scheduler);
    },
  },
  {
    name: "100 000 recipients in 2 000 requests, small ones beside",
    prepare: (scheduler) => {
      return besideBig(scheduler);
    },
  },
  {
    name: "the same behind 4 000 at a full destination",
    prepare: (scheduler) => {
      blockAtFull(scheduler, 4000);
      return besideBig(scheduler);
    },
  },
  {
    name: "fair shares of 500 keys, 10 000 wait",
    open: (sizeOfJob) => openScheduler(rules, { sizeOfJob, weightOf: () => 1 }),
    prepare: (scheduler) => {
      let made = 0;
      const next = (nowMs: number): void => {
        made += 1;
        const of = message({ activeMs: nowMs, shareKey: `key ${(made * 7) % 500}` });
        scheduler.messageCame(of);
        add(scheduler, `d${made % 300}.example`, of);
      };
      for (let n = 0; n < 10_000; n += 1) next(0);
      return next;
    },
  },
];

/** All places there are taken and stay so; the others wait for them. */
function blockAtFull(scheduler: Scheduler, messages: number): void {
  for (let n = 0; n < messages; n += 1) add(scheduler, "hangs.example");
  scheduler.take(1_000_000, 0);
}

/** One message of which 2 000 requests always wait, as if its recipients never ended; a small one comes for each that goes. */
function besideBig(scheduler: Scheduler): (nowMs: number, ended: Entry) => void {
  const big = message({}, { totalRecipients: 100_000, nextRecipient: 100_000 });
  for (let n = 0; n < 2000; n += 1) add(scheduler, `big${n % 1000}.example`, big);
  const addSmall = steady((n) => `small${n % 300}.example`, 500)(scheduler);
  return (nowMs, ended) => {
    if (ended.message === big) add(scheduler, ended.destination.nexthop, big);
    else addSmall(nowMs, ended);
  };
}

function end(scheduler: Scheduler, job: DeliveryJob, nowMs: number): void {
  for (const one of job.entries) {
    scheduler.ended(job.slot, { kind: "good" }, nowMs);
    scheduler.over(one);
  }
  scheduler.release(job.slot, noPace, nowMs);
}

/** Decisions a second of CPU. */
function run({ prepare, open }: Scene, sizeOfJob: typeof jobSize): number {
  const scheduler =
    open === undefined ? openScheduler(fixedWindow(20), { sizeOfJob }) : open(sizeOfJob);
  const next = prepare(scheduler);
  scheduler.capacity = scheduler.jobsOut + outAtOnce / 2;
  const out: DeliveryJob[] = [];
  const before = process.cpuUsage();
  let decisions = 0;
  for (let nowMs = 0; decisions < total; nowMs += 1) {
    out.push(...scheduler.take(500, nowMs));
    // Half of those that are out end, the oldest first, and as many come in.
    for (const job of out.splice(0, Math.ceil(out.length / 2))) {
      end(scheduler, job, nowMs);
      decisions += job.entries.length;
      for (const ended of job.entries) next(nowMs, ended);
    }
    scheduler.tick(nowMs);
    if (nowMs % 1000 === 0) scheduler.takeReports(nowMs);
  }
  const { user, system } = process.cpuUsage(before);
  return decisions / ((user + system) / 1e6);
}

process.stdout.write(
  `${total} requests each; decisions a second of CPU, at least ${wanted} wanted\n`,
);
process.stdout.write(`${"".padEnd(58)} one a job   as in service\n`);
for (const scene of scenes) {
  const rates = [() => 1, jobSize].map((sizeOfJob) => Math.round(run(scene, sizeOfJob)));
  const shown = rates.map((rate) => `${rate}${rate < wanted ? " SLOW" : ""}`.padStart(14)).join("");
  process.stdout.write(`${scene.name.padEnd(56)}${shown}\n`);
}
