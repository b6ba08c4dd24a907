/** What the faces of a store share: keys, connections, bells, the monitor. */
import type { Redis } from "ioredis";
import type { BellNotice, Bells } from "./bells.ts";
import type { InstanceKeys } from "./instance-keys.ts";
import type { ConnectionKind } from "./redis-connection.ts";
import type { StoreMonitor } from "./store-monitor.ts";

export type StoreParts = {
  readonly keys: InstanceKeys;
  /** A patient connection for small commands. */
  readonly redis: Redis;
  readonly bells: Bells;
  readonly monitor: StoreMonitor;
  readonly notice: BellNotice;
  /** Name of this run of this process: its claims live as long as its heartbeat. */
  readonly worker: string;
  readonly heartbeatMs: number;
  readonly leaseMs: number;
  readonly crashLimit: number;
  /** In-flow tokens in all (S33). */
  readonly processLimit: number;
  /** Opens a connection that the store closes. */
  readonly connect: (kind: ConnectionKind, name: string) => Redis;
  /** Registers something to be stopped when the store closes, before its connections. */
  readonly onClose: (stop: () => Promise<void> | void) => void;
};
