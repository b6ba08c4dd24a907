/**
 * Moves between instances that somebody died over are brought to their end, once a minute.
 *
 * A message that stands as moving is in no queue; any showq of its instance may go on with it, several at once too, and
 * with those on their way back from an instance in which nothing runs. One that goes to a file is put back. What can't be
 * done now is tried again.
 *
 * Source: DESIGN §5; P2; docs/ARCHITECTURE.md "A message that moves to another instance".
 */
import type { Parameters } from "@postmq/config";
import type { Log } from "@postmq/observability";
import { abandonedAfterMs, finishMoves } from "@postmq/queue-admin";
import { openStore } from "@postmq/queue-store";
import type { Copying, MovingAway, Store } from "@postmq/queue-store";

const lookEveryMs = 60_000;

type Side = Copying & MovingAway;

export type UnfinishedMovesOptions = {
  readonly store: Pick<Store, "clock" | "health">;
  readonly copying: Side;
  readonly parameters: Parameters;
  readonly processName: string;
  readonly log: Log;
  /** Default a minute. */
  readonly everyMs?: number;
  /** Default a minute: whoever began it may still be at work. */
  readonly abandonedAfterMs?: number;
};

export class UnfinishedMoves {
  readonly #options: UnfinishedMovesOptions;
  #timer: NodeJS.Timeout | undefined;
  #looking: Promise<void> | undefined;

  constructor(options: UnfinishedMovesOptions) {
    this.#options = options;
  }

  start(): void {
    this.#timer = setInterval(() => {
      // A pass that waits for Redis is the only one.
      this.#looking ??= this.#look().finally(() => (this.#looking = undefined));
    }, this.#options.everyMs ?? lookEveryMs);
  }

  /** Waits for a pass that is under way, unless Redis is away. */
  async drain(): Promise<void> {
    clearInterval(this.#timer);
    if (this.#options.store.health().isReachable) await this.#looking;
  }

  async #look(): Promise<void> {
    const { store, copying } = this.#options;
    if (!store.health().isReachable) return;
    await this.#orTell(async () => {
      await this.#finish(copying);
      for (const name of await copying.asideNames()) {
        // One that can't be opened keeps nobody from the others.
        await this.#orTell(() => this.#inInstance(name, (there) => this.#finish(there)));
      }
    });
  }

  async #orTell(work: () => Promise<void>): Promise<void> {
    try {
      await work();
    } catch (error) {
      this.#tell(error);
    }
  }

  #tell(error: unknown): void {
    const text = error instanceof Error ? error.message : String(error);
    this.#options.log.warning(`moves that broke off can't be ended now: ${text}`);
  }

  async #finish(from: Side): Promise<void> {
    const { store, log } = this.#options;
    const { moved, putBack, unfinished } = await finishMoves(from, {
      markedBeforeMs: store.clock.nowMs() - (this.#options.abandonedAfterMs ?? abandonedAfterMs),
      withInstance: (name, use) => this.#inInstance(name, use),
    });
    for (const { error } of unfinished) this.#tell(error);
    if (moved + putBack === 0) return;
    log.warning(`a move broke off: ${moved} messages moved to its end, ${putBack} put back`);
  }

  async #inInstance<T>(name: string, use: (there: Side) => Promise<T>): Promise<T> {
    const { parameters, processName } = this.#options;
    await using other = await openStore({
      redisUrl: parameters.redis_url,
      instanceName: name,
      processName,
      memoryHighWater: parameters.redis_memory_high_water,
      heartbeatMs: parameters.worker_heartbeat_time,
      leaseMs: parameters.leader_lease_time,
    });
    return await use(other.copying());
  }
}
