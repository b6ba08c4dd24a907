/**
 * Tokens of connections: a destination's limit, held over all workers of the instance.
 *
 * A dial costs one script and a close another; what comes while one is under way goes with the next, so that under load
 * many share one. Without a free token the asker is noted in Redis and waits: whoever gives a token back wakes the one
 * that waits longest. Meanwhile the script asks other holders, over pub/sub, to close an idle connection; such a message
 * may be lost, so the asker asks again, ever more of them, with growing pauses, and gives up after some 3 s. Who has none
 * then looks, when one falls idle soon after, whether somebody waits still.
 *
 * *Important:* a token is given back when its socket is closed, no sooner. It counts from the moment it is asked for: an
 * answer that nobody hears any more (the signal fired) still gives it back.
 *
 * Over an outage of Redis takes wait and returns are kept. At the store's close all that are left go in one script; after
 * a crash they fall with the worker's claims.
 *
 * Source: DESIGN §4 "a connection is opened under a token of its destination in Redis"; P7.
 */
import type { Redis } from "ioredis";
import { Coalescer } from "./coalescer.ts";
import type { ConnectionToken, ConnectionTokens } from "./contract.ts";
import { storeError } from "./redis-connection.ts";
import { asArray, asNumber } from "./script-reply.ts";
import { loadScript, runScript } from "./script.ts";
import type { StoreParts } from "./store-parts.ts";

const exchangeConnections = loadScript("exchange-connections");

/** How long a dial waits for a token. */
const patienceMs = 3_000;
const firstPauseMs = 20;
const longestPauseMs = 500;
const maxPerScript = 200;
const retryMs = 500;
/** Destinations remembered as asked for; to forget one costs the asker a pause. */
const mostAskedFor = 1_000;
/** At the end, sockets may take this long to close by themselves. */
const closingMs = 1_000;

type Exchange = { readonly name: string; readonly token: string } & (
  | { readonly kind: "give" | "look" }
  | {
      readonly kind: "take";
      readonly limit: number;
      readonly waitMs: number;
      readonly tries: number;
    }
);

/** One dial that waits for a token. */
type Waiter = { isWoken: boolean; wake: () => void };

export class ConnectionTokenStore implements ConnectionTokens {
  onAsked: (name: string) => void = () => {};
  readonly #parts: StoreParts;
  readonly #redis: Redis;
  readonly #exchanges: Coalescer<Exchange, boolean>;
  /** Asked for and not yet given back, with their destinations. */
  readonly #held = new Map<string, string>();
  readonly #waiters = new Map<string, Waiter>();
  /** Destinations that others asked for, with the time until which somebody may still wait there. */
  readonly #askedFor = new Map<string, number>();
  #number = 0;
  #isClosed = false;
  #onEmpty: (() => void) | undefined;

  constructor(parts: StoreParts) {
    this.#parts = parts;
    this.#redis = parts.connect("patient", "connections");
    this.#exchanges = new Coalescer((items) => this.#exchange(items), {
      lanes: 1,
      maxItems: maxPerScript,
    });
    const ears = parts.connect("patient", "asked");
    ears.on("message", (_channel: string, text: string) => this.#hear(text));
    ears.on("ready", () => {
      ears.subscribe(`${parts.keys.prefix}:ask:${parts.worker}`).catch((error: unknown) => {
        if (!this.#isClosed) parts.notice("warning", `subscription: ${String(error)}`);
      });
    });
    parts.onClose(() => this.#close());
  }

  async take(options: {
    readonly name: string;
    readonly limit: number;
    readonly signal: AbortSignal;
  }): Promise<ConnectionToken | undefined> {
    const { name, limit, signal } = options;
    if (limit === 0) return { name, [Symbol.dispose]: () => {} };
    if (signal.aborted || this.#isClosed) return undefined;
    this.#number += 1;
    const token = `${this.#parts.worker}/${this.#number}`;
    const waiter: Waiter = { isWoken: false, wake: () => {} };
    this.#held.set(token, name);
    this.#waiters.set(token, waiter);
    try {
      const isHeld = await this.#tryTake({ name, token, limit, signal, waiter });
      if (isHeld) return this.#heldToken(token, name);
      // It waits no more; and if the signal came before the answer, it may yet be granted.
      this.#give(token, name);
      return undefined;
    } finally {
      this.#waiters.delete(token);
    }
  }

  async #tryTake(asked: {
    readonly name: string;
    readonly token: string;
    readonly limit: number;
    readonly signal: AbortSignal;
    readonly waiter: Waiter;
  }): Promise<boolean> {
    const { name, token, limit, signal, waiter } = asked;
    let deadlineMs: number | undefined;
    for (let tries = 0; ; tries += 1) {
      // The time that Redis is away does not count.
      const waitMs =
        deadlineMs === undefined ? patienceMs : Math.round(deadlineMs - performance.now());
      waiter.isWoken = false;
      const answer = this.#exchanges.add({ kind: "take", name, token, limit, waitMs, tries });
      const isHeld = await orAborted(answer, signal);
      if (isHeld === true) return true;
      if (isHeld === undefined || waitMs <= 0 || this.#isClosed) return false;
      deadlineMs ??= performance.now() + patienceMs;
      this.onAsked(name);
      const leftMs = deadlineMs - performance.now();
      const pauseMs = Math.min(firstPauseMs * 2 ** tries, longestPauseMs, Math.max(0, leftMs));
      await untilWoken(waiter, pauseMs, signal);
      if (signal.aborted) return false;
    }
  }

  async isAskedFor(name: string): Promise<boolean> {
    const untilMs = this.#askedFor.get(name);
    if (untilMs === undefined) return false;
    const isLate = performance.now() > untilMs;
    if (!isLate && (await this.#exchanges.add({ kind: "look", name, token: "" }))) return true;
    this.#askedFor.delete(name);
    return false;
  }

  #heldToken(token: string, name: string): ConnectionToken {
    let isGiven = false;
    return {
      name,
      [Symbol.dispose]: () => {
        if (isGiven) return;
        isGiven = true;
        this.#give(token, name);
      },
    };
  }

  #give(token: string, name: string): void {
    // It rejects for a bug only, and then it must end the process.
    void this.#exchanges.add({ kind: "give", name, token }).then(() => {
      this.#held.delete(token);
      if (this.#held.size === 0) this.#onEmpty?.();
    });
  }

  /** As long as it takes: a token that is not given back would be missing for as long as this process lives. */
  async #exchange(items: readonly Exchange[]): Promise<readonly boolean[]> {
    const { keys, heartbeatMs, notice } = this.#parts;
    const args = [keys.prefix, heartbeatMs, ...items.flatMap(exchangeArguments)];
    for (;;) {
      try {
        const reply = await runScript(this.#redis, exchangeConnections, [keys.workers], args);
        return asArray(reply).map((answer) => asNumber(answer) === 1);
      } catch (error) {
        const { message } = storeError(error);
        if (this.#isClosed) return items.map(() => false);
        notice("warning", `tokens of connections wait for Redis: ${message}`);
        await new Promise((resolve) => setTimeout(resolve, retryMs));
      }
    }
  }

  #hear(text: string): void {
    const [word, ...rest] = text.split(" ");
    const what = rest.join(" ");
    if (word === "ask") {
      if (this.#askedFor.size >= mostAskedFor) this.#askedFor.clear();
      this.#askedFor.set(what, performance.now() + patienceMs);
      this.onAsked(what);
    }
    if (word !== "free") return;
    const waiter = this.#waiters.get(what);
    if (waiter === undefined) return;
    waiter.isWoken = true;
    waiter.wake();
  }

  async #close(): Promise<void> {
    if (this.#redis.status === "ready" && this.#held.size > 0) {
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, closingMs);
        this.#onEmpty = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
    this.#isClosed = true;
    if (this.#redis.status !== "ready" || this.#held.size === 0) return;
    const left = [...this.#held].map(([token, name]) => ({ kind: "give", name, token }) as const);
    await this.#exchange(left);
  }
}

function exchangeArguments(item: Exchange): string[] {
  const { name, token } = item;
  switch (item.kind) {
    case "give":
      return [name, token, "", "", ""];
    case "look":
      return [name, token, "look", "", ""];
    case "take":
      return [name, token, String(item.limit), String(item.waitMs), String(item.tries)];
  }
}

function untilWoken(waiter: Waiter, pauseMs: number, signal: AbortSignal): Promise<void> {
  if (waiter.isWoken || signal.aborted) return Promise.resolve();
  return new Promise((resolve) => {
    const go = () => {
      clearTimeout(timer);
      signal.removeEventListener("abort", go);
      waiter.wake = () => {};
      resolve();
    };
    const timer = setTimeout(go, pauseMs);
    signal.addEventListener("abort", go);
    waiter.wake = go;
  });
}

/** The answer, or undefined when the signal fires first. */
function orAborted<Answer>(
  answer: Promise<Answer>,
  signal: AbortSignal,
): Promise<Answer | undefined> {
  return new Promise((resolve, reject) => {
    const onAbort = () => resolve(undefined);
    signal.addEventListener("abort", onAbort);
    answer
      .then(resolve, reject)
      .finally(() => signal.removeEventListener("abort", onAbort))
      .catch(() => {}); // told by the first branch
  });
}
