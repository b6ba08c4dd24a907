/**
 * Opening an instance's store: connections, the check that Redis is fit, and the faces for each kind of user.
 *
 * Source: DESIGN §3, §5; P1, P4, P9.
 */
import { randomBytes } from "node:crypto";
import type { Redis } from "ioredis";
import type { BellQueue } from "@postmq/vocabulary";
import { PostmqError } from "@postmq/vocabulary";
import { AuditingStore } from "./auditing-store.ts";
import { ActingStore } from "./acting-store.ts";
import { Bells, readBell, readDeliveryBell } from "./bells.ts";
import type { BellNotice } from "./bells.ts";
import { CheckingStore } from "./checking-store.ts";
import { CleaningStore } from "./cleaning-store.ts";
import type {
  Bell,
  BellListener,
  Delivering,
  DeliveryBell,
  Store,
  StoreHealth,
} from "./contract.ts";
import type {
  Acting,
  Auditing,
  Copying,
  MovingAway,
  Operations,
  Selecting,
  Timelines,
} from "./contract-of-operators.ts";
import { CopyingStore } from "./copying-store.ts";
import { DeliveringStore } from "./delivering-store.ts";
import { instanceKeys } from "./instance-keys.ts";
import { IntakeStore } from "./intake-store.ts";
import { LeadershipStore } from "./leadership-store.ts";
import { LookingStore } from "./looking-store.ts";
import { OperatingStore } from "./operating-store.ts";
import { OperationsStore } from "./operations-store.ts";
import { connect, redactedUrl, storeError } from "./redis-connection.ts";
import type { ConnectionKind } from "./redis-connection.ts";
import { ReportingStore } from "./reporting-store.ts";
import { SchedulingStore } from "./scheduling-store.ts";
import { SelectingStore } from "./selecting-store.ts";
import { StoreMonitor } from "./store-monitor.ts";
import type { StoreParts } from "./store-parts.ts";
import { TimelineStore } from "./timeline-store.ts";
import { startTimelineTrimming } from "./timeline-trimming.ts";
import type { TimelineLimits } from "./timeline-trimming.ts";

export type StoreOptions = {
  readonly redisUrl: string;
  readonly instanceName: string;
  /** Postfix's service name plus process id, for claims and CLIENT SETNAME. */
  readonly processName: string;
  /** redis_memory_high_water. */
  readonly memoryHighWater: number;
  /** worker_heartbeat_time. */
  readonly heartbeatMs: number;
  /** leader_lease_time. */
  readonly leaseMs: number;
  /** crash_limit. */
  readonly crashLimit?: number;
  /** default_process_limit: in-flow tokens (S33). */
  readonly processLimit?: number;
  /** event_memory, event_retention: then this process sees to the timelines. Absent: it leaves them as they are. */
  readonly timelines?: TimelineLimits;
  /** How long to try to reach Redis. */
  readonly connectTimeoutMs?: number;
  /** Told of notable things: reconnects, durability, BullMQ's errors. Never given content or secrets. */
  readonly onNotice?: (notice: {
    readonly level: "info" | "warning" | "error";
    readonly text: string;
  }) => void;
};

const defaultConnectTimeoutMs = 10_000;
const defaultCrashLimit = 3;
const defaultProcessLimit = 100;
/** The same trouble of a connection is told once in this time. */
const repeatNoticeMs = 5000;

class OpenedStore implements Store {
  readonly instanceName: string;
  readonly #parts: StoreParts;
  readonly #close: () => Promise<void>;
  readonly clock = { nowMs: () => this.#parts.monitor.nowMs() };

  constructor(instanceName: string, parts: StoreParts, close: () => Promise<void>) {
    this.instanceName = instanceName;
    this.#parts = parts;
    this.#close = close;
  }

  health(): StoreHealth {
    return this.#parts.monitor.health();
  }

  intake(): IntakeStore {
    return new IntakeStore(this.#parts);
  }

  cleaning(): CleaningStore {
    return new CleaningStore(this.#parts);
  }

  reporting(): ReportingStore {
    return new ReportingStore(this.#parts);
  }

  leadership(): LeadershipStore {
    return new LeadershipStore(this.#parts);
  }

  scheduling(): SchedulingStore {
    return new SchedulingStore(this.#parts);
  }

  delivering(options: { readonly concurrency: number }): Promise<Delivering> {
    return DeliveringStore.open(this.#parts, options.concurrency);
  }

  looking(): LookingStore {
    return new LookingStore(this.#parts);
  }

  operating(): OperatingStore {
    return new OperatingStore(this.#parts);
  }

  acting(): Acting {
    return new ActingStore(this.#parts);
  }

  selecting(): Selecting {
    return new SelectingStore(this.#parts);
  }

  copying(): Copying & MovingAway {
    return new CopyingStore(this.#parts);
  }

  timelines(): Timelines {
    return new TimelineStore(this.#parts);
  }

  auditing(): Auditing {
    return new AuditingStore(this.#parts);
  }

  operations(): Operations {
    return new OperationsStore(this.#parts);
  }

  checking(): CheckingStore {
    return new CheckingStore(this.#parts);
  }

  listen(
    queue: Exclude<BellQueue, "active">,
    options: { readonly concurrency: number },
    handler: (bell: Bell) => Promise<void>,
  ): Promise<BellListener> {
    return this.#parts.bells.listen(queue, options, (data) => handler(readBell(data)));
  }

  listenForDeliveries(
    options: { readonly concurrency: number },
    handler: (bell: DeliveryBell) => Promise<void>,
  ): Promise<BellListener> {
    return this.#parts.bells.listen("active", options, (data) => handler(readDeliveryBell(data)));
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#close();
  }
}

/** Tells each trouble once in a while instead of at every try. */
function throttledNotice(tell: BellNotice): BellNotice {
  const lastMs = new Map<string, number>();
  return (level, text) => {
    const now = performance.now();
    if (now - (lastMs.get(text) ?? -repeatNoticeMs) < repeatNoticeMs) return;
    if (lastMs.size > 1000) lastMs.clear();
    lastMs.set(text, now);
    tell(level, text);
  };
}

async function within<Result>(
  promise: Promise<Result>,
  timeoutMs: number,
  what: string,
): Promise<Result> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(new PostmqError("PMQ_STORE_UNREACHABLE", what)), timeoutMs);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

/**
 * Connects to the instance's store and checks that Redis is fit: version, noeviction, AOF policy, identity.
 *
 * @throws PMQ_STORE_UNREACHABLE after `connectTimeoutMs`; PMQ_STORE_UNFIT for a wrong policy or version.
 */
export async function openStore(options: StoreOptions): Promise<Store> {
  const notice = throttledNotice((level, text) => options.onNotice?.({ level, text }));
  const connections: Redis[] = [];
  const stops: (() => Promise<void> | void)[] = [];
  const connectNamed = (kind: ConnectionKind, name: string): Redis => {
    const redis = connect(options.redisUrl, kind, `${options.processName}.${name}`, (error) =>
      notice("warning", `Redis (${name}): ${error.message}`),
    );
    connections.push(redis);
    return redis;
  };
  const closeConnections = () => {
    for (const redis of connections) redis.disconnect();
  };
  const keys = instanceKeys(options.instanceName);
  const redis = connectNamed("patient", "store");
  const monitor = new StoreMonitor(
    connectNamed("patient", "monitor"),
    keys,
    options.memoryHighWater,
  );
  const bells = new Bells(redis, keys.prefix, notice);
  try {
    await within(
      monitor.start(randomBytes(12).toString("hex")),
      options.connectTimeoutMs ?? defaultConnectTimeoutMs,
      `Redis at ${redactedUrl(options.redisUrl)} can't be reached`,
    );
  } catch (error) {
    monitor.stop();
    closeConnections();
    throw storeError(error);
  }
  if (monitor.durability !== "always") {
    notice(
      "warning",
      `appendfsync is ${monitor.durability}: mail answered with 250 may be lost at a power cut`,
    );
  }
  const parts: StoreParts = {
    keys,
    redis,
    bells,
    monitor,
    notice,
    worker: `${options.processName}.${randomBytes(6).toString("hex")}`,
    heartbeatMs: options.heartbeatMs,
    leaseMs: options.leaseMs,
    crashLimit: options.crashLimit ?? defaultCrashLimit,
    processLimit: options.processLimit ?? defaultProcessLimit,
    connect: connectNamed,
    onClose: (stop) => stops.push(stop),
  };
  if (options.timelines !== undefined) await startTimelineTrimming(parts, options.timelines);
  return new OpenedStore(options.instanceName, parts, async () => {
    monitor.stop();
    await Promise.allSettled(stops.map(async (stop) => stop()));
    if (redis.status === "ready") await bells[Symbol.asyncDispose]();
    closeConnections();
  });
}
