/**
 * `sendmail -q -v`: flushes, and shows what becomes of the messages that this is about, until each was tried.
 *
 * Looks at their records again and again; a message is through when it is gone, or in deferred again, or somewhere else.
 * What was said of its recipients is read from the timelines then, and written as the log writes it.
 *
 * Source: spec sendmail-queue.md §5 "-q -v".
 */
import { setTimeout as pause } from "node:timers/promises";

import { selectMessages, whileReachable } from "@postmq/queue-admin";
import type { Selection } from "@postmq/queue-admin";
import type { ListedMessage, Store, TimelineEvent } from "@postmq/queue-store";
import { exitCodes } from "@postmq/vocabulary";
import type { MessageQueue, QueueId } from "@postmq/vocabulary";

import type { CommandContext } from "../command.ts";
import { flush } from "../flush.ts";
import type { FlushRequest } from "../flush.ts";
import { withQueue } from "../open-queue.ts";
import { readParameters } from "../read-parameters.ts";

const openWithinMs = 3_000;
const lookEveryMs = 300;
/** Messages watched; of a longer queue the rest is tried unseen. */
const mostWatched = 1000;
const idsPerLook = 500;
/** Without a scheduler nothing is tried: then it ends. */
const patienceMs = 15_000;
/** Where a message is that waits for its try, or is in it. */
const underWay: readonly MessageQueue[] = ["incoming", "active", "deferred"];

export type WatchedRun = {
  readonly flush: FlushRequest;
  readonly config: string | undefined;
  readonly signal: AbortSignal;
};

export async function watchRun(context: CommandContext, run: WatchedRun): Promise<number> {
  const parameters = readParameters(context.env, run.config);
  return await withQueue(
    parameters,
    { command: "sendmail", withinMs: openWithinMs },
    async (store) => {
      const watch = new Watch(context, store);
      await whileReachable(store, () => watch.begin(run.flush));
      const code = await flush(context, run.flush, run);
      if (code !== exitCodes.ok) return code;
      return await whileReachable(store, () => watch.follow(run.signal));
    },
  );
}

class Watch {
  readonly #context: CommandContext;
  readonly #store: Store;
  readonly #selecting;
  readonly #timelines;
  readonly #looking;
  /** Generations before the run, of those that are not through. */
  readonly #left = new Map<QueueId, number>();
  #begunMs = 0;

  constructor(context: CommandContext, store: Store) {
    this.#context = context;
    this.#store = store;
    this.#selecting = store.selecting();
    this.#timelines = store.timelines();
    this.#looking = store.looking();
  }

  async begin(request: FlushRequest): Promise<void> {
    this.#begunMs = this.#store.clock.nowMs();
    const contains = request.what === "selected" ? { contains: request.contains } : {};
    const selection: Selection = { queues: ["incoming", "deferred"], ...contains };
    for await (const page of selectMessages(this.#selecting, selection)) {
      for (const { id, generation } of page) {
        if (this.#left.size < mostWatched) this.#left.set(id, generation);
      }
      if (this.#left.size < mostWatched) continue;
      this.#warn(`only the first ${mostWatched} messages are shown`);
      return;
    }
  }

  async follow(signal: AbortSignal): Promise<number> {
    let ledMs = performance.now();
    while (this.#left.size > 0 && !signal.aborted) {
      await this.#look();
      if ((await this.#looking.scheduler()) !== undefined) ledMs = performance.now();
      if (performance.now() - ledMs > patienceMs) {
        this.#warn(`no qmgr runs: ${this.#left.size} messages wait for one`);
        return exitCodes.tempFail;
      }
      if (this.#left.size > 0) {
        await pause(lookEveryMs, undefined, { signal }).catch(() => undefined);
      }
    }
    return this.#left.size === 0 ? exitCodes.ok : exitCodes.tempFail;
  }

  async #look(): Promise<void> {
    const ids = [...this.#left.keys()];
    for (let from = 0; from < ids.length; from += idsPerLook) {
      const some = ids.slice(from, from + idsPerLook);
      const found = new Map(
        (await this.#selecting.messages(some)).map((message) => [message.id, message]),
      );
      for (const id of some) {
        const message = found.get(id);
        if (!this.#isThrough(id, message)) continue;
        this.#left.delete(id);
        await this.#tell(id, message);
      }
    }
  }

  #isThrough(id: QueueId, message: ListedMessage | undefined): boolean {
    if (message === undefined || !underWay.includes(message.queue)) return true;
    return message.queue === "deferred" && message.generation > (this.#left.get(id) ?? 0);
  }

  async #tell(id: QueueId, message: ListedMessage | undefined): Promise<void> {
    const events = await this.#timelines.timeline(id, { sinceMs: this.#begunMs });
    const lines = events.flatMap(outcomeLine);
    // Where no timelines are kept, the record tells of what is left.
    const told = lines.length > 0 || message === undefined ? lines : reasonLines(message);
    const where = message === undefined ? "removed" : `in ${message.queue}`;
    for (const line of [...told, where]) this.#context.print(`${id}: ${line}\n`);
  }

  #warn(text: string): void {
    this.#context.complain(`${this.#context.name}: warning: ${text}\n`);
  }
}

const statuses: Readonly<Partial<Record<TimelineEvent["kind"], string>>> = {
  sent: "sent",
  deferred: "deferred",
  failed: "bounced",
};

function outcomeLine({ kind, details }: TimelineEvent): readonly string[] {
  const status = statuses[kind];
  if (status === undefined) return [];
  const { to = "", relay = "none", status: dsn = "", reply, reason } = details;
  const parts = [`to=<${to}>`, `relay=${relay}`, ...(dsn === "" ? [] : [`dsn=${dsn}`])];
  const why = reply ?? reason ?? "";
  return [shownLine(`${parts.join(", ")}, status=${status}${why === "" ? "" : ` (${why})`}`)];
}

function reasonLines({ recipients }: ListedMessage): readonly string[] {
  return recipients.flatMap(({ address, state }) =>
    state.kind === "deferred"
      ? [shownLine(`to=<${address}>, dsn=${state.status}, status=deferred (${state.reason})`)]
      : [],
  );
}

/** Replies of far servers: nothing in them drives a terminal. */
function shownLine(text: string): string {
  return text.toWellFormed().replaceAll(/[\p{Cc}\u2028\u2029]/gu, "?");
}
