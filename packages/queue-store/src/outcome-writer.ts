/**
 * Outcomes on their way into the records: kept over an outage of Redis, however long, and written in order (P5).
 *
 * Most requests are written once, with their end. One that asks several servers says what came of some recipients
 * before it goes on (D6): that is written first, and once more with the end, so that the leader hears of all of them
 * and a file of held outcomes is whole; a recipient that is done stays done.
 *
 * Source: DESIGN §3 "Outcomes are facts"; spec D6, P5; faults 11, 30.
 */
import type { Redis } from "ioredis";
import { enhancedStatus } from "@postmq/vocabulary";
import type { RecipientOutcome, RequestEnd, RequestName } from "@postmq/vocabulary";
import { Coalescer } from "./coalescer.ts";
import type { RequestResult } from "./contract.ts";
import { outcomeArguments } from "./packing.ts";
import { storeError } from "./redis-connection.ts";
import { loadScript, runScript } from "./script.ts";
import type { StoreParts } from "./store-parts.ts";

const endRequests = loadScript("end-requests");

const maxPerScript = 200;
const retryMs = 500;
const goodStatus = enhancedStatus("2.0.0");

/** goesOn: outcomes of a request that has not ended. */
type Write = Omit<RequestResult, "end"> & { readonly end: RequestEnd | "goesOn" };

/** What was recorded of a request that goes on. */
type Recorded = {
  readonly name: RequestName;
  readonly outcomes: Map<number, RecipientOutcome>;
  /** Writes that Redis has not answered. */
  unanswered: number;
};

export class OutcomeWriter {
  readonly #parts: StoreParts;
  readonly #redis: Redis;
  readonly #writes: Coalescer<Write, true>;
  readonly #unwritten = new Set<RequestResult>();
  readonly #goingOn = new Map<string, Recorded>();
  #isClosed = false;

  constructor(parts: StoreParts, redis: Redis) {
    this.#parts = parts;
    this.#redis = redis;
    // One lane: what is said of a request is written in the order in which it was said.
    this.#writes = new Coalescer((writes) => this.#write(writes), {
      lanes: 1,
      maxItems: maxPerScript,
    });
    parts.onClose(() => {
      this.#isClosed = true;
    });
  }

  async record(name: RequestName, outcomes: readonly RecipientOutcome[]): Promise<void> {
    if (outcomes.length === 0) return;
    const key = requestKey(name);
    const recorded = this.#goingOn.get(key) ?? { name, outcomes: new Map(), unanswered: 0 };
    this.#goingOn.set(key, recorded);
    for (const outcome of outcomes) recorded.outcomes.set(outcome.recipient, outcome);
    recorded.unanswered += 1;
    await this.#writes.add({ name, end: "goesOn", outcomes, feedback: { kind: "none" } });
    recorded.unanswered -= 1;
  }

  async end(result: RequestResult): Promise<void> {
    const whole = this.#goingOn.size === 0 ? result : this.#withRecorded(result);
    this.#unwritten.add(whole);
    await this.#writes.add(whole);
    this.#unwritten.delete(whole);
  }

  #withRecorded(result: RequestResult): RequestResult {
    const key = requestKey(result.name);
    const recorded = this.#goingOn.get(key);
    if (recorded === undefined) return result;
    this.#goingOn.delete(key);
    for (const { recipient } of result.outcomes) recorded.outcomes.delete(recipient);
    return { ...result, outcomes: [...result.outcomes, ...recorded.outcomes.values()] };
  }

  /** A request that has not ended is told as put back: the outcomes are facts, and the end is for the leader to find. */
  unwritten(): readonly RequestResult[] {
    const goingOn = [...this.#goingOn.values()].filter(({ unanswered }) => unanswered > 0);
    return [
      ...this.#unwritten,
      ...goingOn.map(({ name, outcomes }) => ({
        name,
        end: "putBack" as const,
        outcomes: [...outcomes.values()],
        feedback: { kind: "none" as const },
      })),
    ];
  }

  /** As long as it takes: they are facts that must not be lost. */
  async #write(writes: readonly Write[]): Promise<readonly true[]> {
    const { keys, worker } = this.#parts;
    for (;;) {
      try {
        await runScript(
          this.#redis,
          endRequests,
          writes.map(({ name }) => keys.record(name.id)),
          [keys.prefix, worker, ...writes.flatMap(writeArguments)],
        );
        return writes.map(() => true as const);
      } catch (error) {
        if (this.#isClosed) throw storeError(error);
        if (isScriptError(error)) return this.#writeOneByOne(writes, error);
        this.#parts.notice("warning", `outcomes wait for Redis: ${storeError(error).message}`);
        await new Promise((resolve) => setTimeout(resolve, retryMs));
      }
    }
  }

  /** A damaged record makes the script fail: its neighbours' outcomes are written without it. */
  async #writeOneByOne(writes: readonly Write[], error: unknown): Promise<readonly true[]> {
    const [only] = writes;
    if (only !== undefined && writes.length === 1) {
      this.#parts.notice("error", `${only.name.id}: outcome not recorded: ${String(error)}`);
      return [true];
    }
    for (const one of writes) await this.#write([one]);
    return writes.map(() => true as const);
  }
}

/** Redis answered, and would answer the same again: the script met a key or field that is not as it should be. */
function isScriptError(error: unknown): boolean {
  return error instanceof Error && /^(WRONGTYPE|ERR) /.test(error.message);
}

function requestKey({ id, number, generation }: RequestName): string {
  return `${id} ${number} ${generation}`;
}

function oneLine(text: string): string {
  return text.replaceAll(/\s/g, " ");
}

function writeArguments({ name, end, feedback, outcomes }: Write): string[] {
  const count = (kind: string) =>
    String(outcomes.filter((outcome) => outcome.kind === kind).length);
  const owed = outcomes.filter(({ owesReport }) => owesReport !== undefined).length;
  const trouble = feedback.kind === "trouble" ? feedback : { status: goodStatus, reason: "" };
  return [
    name.id,
    String(name.number),
    String(name.generation),
    end,
    feedback.kind,
    trouble.status,
    oneLine(trouble.reason),
    count("sent"),
    count("deferred"),
    count("failed"),
    String(owed),
    String(outcomes.length),
    ...outcomes.flatMap(outcomeArguments),
  ];
}
