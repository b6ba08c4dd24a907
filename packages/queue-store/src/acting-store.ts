/**
 * An operator's acts on messages: by id, or on all of a queue in steps.
 *
 * A step ends when it has held Redis for some milliseconds, flushing its index changes included, so that mail flows in
 * between; how many messages that is depends on them and on the machine. Each step is safe to repeat, and nothing is
 * remembered between two of them but where the walk stands.
 *
 * Source: spec admin-tools.md §2, A1 to A4; ARCHITECTURE.md "What operators do"; postsuper(1).
 */
import type { Redis } from "ioredis";
import { panic } from "@postmq/vocabulary";
import type { MessageQueue, QueueId } from "@postmq/vocabulary";
import { namedQueuesOfAct, queuesOfAct } from "./contract-of-operators.ts";
import type { Act, ActAnswer, Acting, Walk, WalkStep } from "./contract-of-operators.ts";
import { checkedId } from "./packing.ts";
import { asArray, asNumber, asText, asWord } from "./script-reply.ts";
import { loadScript } from "./script.ts";
import type { Script, ScriptArgument } from "./script.ts";
import type { StoreParts } from "./store-parts.ts";
import { runInstanceScript } from "./store-script.ts";

const scripts = {
  messages: loadScript("act-on-messages"),
  queue: loadScript("act-on-queue"),
};
const mostIds = 500;
/**
 * A step takes no further message after this; the index changes it has gathered follow, some as much again. More is
 * quicker by itself, but mail that flows meanwhile gets less than half of its rate (docs/decisions/006).
 */
const budgetUs = 2000;
/** Messages and their domains in a step, should its clock not tell. */
const mostWork = 1500;
const answers = ["done", "absent", "unreadable"] as const;

export class ActingStore implements Acting {
  readonly #parts: StoreParts;
  readonly #redis: Redis;
  /** Messages read per step of a walk: somewhat more than the last step had time for. */
  #page = mostIds;

  /** Where what is done is counted: the key of an operation, or nothing. */
  readonly #counted: readonly string[];

  constructor(parts: StoreParts, redis = parts.connect("patient", "acting"), operation?: string) {
    this.#parts = parts;
    this.#redis = redis;
    this.#counted = operation === undefined ? [] : [parts.keys.operation(operation)];
  }

  countingFor(operation: string): Acting {
    return new ActingStore(this.#parts, this.#redis, operation);
  }

  async #run(
    script: Script,
    keys: readonly string[],
    args: readonly ScriptArgument[],
  ): Promise<readonly unknown[]> {
    const { prefix } = this.#parts.keys;
    return asArray(await runInstanceScript(this.#redis, prefix, { script, keys, args }));
  }

  async act(
    act: Act,
    ids: readonly QueueId[],
    options: { readonly queues?: readonly MessageQueue[]; readonly begunMs?: number } = {},
  ): Promise<readonly ActAnswer[]> {
    if (ids.length > mostIds) panic(`${ids.length} messages in one act`);
    const queues = (options.queues ?? queuesOfAct[act]).filter((queue) => takesFrom(act, queue));
    const found: ActAnswer[] = [];
    while (found.length < ids.length) {
      const left = ids.slice(found.length);
      const reply = await this.#run(
        scripts.messages,
        [...left.map((id) => this.#parts.keys.record(id)), ...this.#counted],
        [act, queues.join(" "), options.begunMs ?? "", budgetUs, mostWork, ...left],
      );
      if (reply.length === 0) panic("an act got nowhere");
      found.push(...reply.map((answer) => asWord(answer, answers)));
    }
    this.#ring(
      act,
      ids.filter((_, i) => found[i] === "done"),
    );
    return found;
  }

  async actOnQueue(act: Act, queue: MessageQueue, walk?: Walk): Promise<WalkStep> {
    if (!takesFrom(act, queue)) panic(`${act} takes no message from ${queue}`);
    const [done, unreadable, seen, cursor, begun, moved] = await this.#run(
      scripts.queue,
      [this.#parts.keys.byArrival(queue), ...this.#counted],
      [act, queue, walk?.cursor ?? "", walk?.begunMs ?? "", this.#page, budgetUs, mostWork],
    );
    const next = asText(cursor);
    if (next !== "") this.#page = Math.min(mostIds, Math.ceil(asNumber(seen) * 1.2) + 16);
    this.#ringAfterStep(act, asArray(moved), next === "");
    return {
      done: asNumber(done),
      unreadable: asNumber(unreadable),
      seen: asNumber(seen),
      next: { begunMs: asNumber(begun), ...(next === "" ? {} : { cursor: next }) },
    };
  }

  /** Who is to look at once; nothing depends on it. */
  #ring(act: Act, ids: readonly QueueId[]): void {
    const { bells } = this.#parts;
    if (ids.length === 0) return;
    if (act === "requeue") bells.ringAndForget(bells.ringBehind("maildrop", ids, 1));
    if (act === "retry") bells.ringAndForget(bells.ringLook("incoming"));
    if (act === "release") bells.ringAndForget(bells.ringLook("deferred"));
  }

  /** The leader looks into incoming and deferred by itself, so that one ring at the end will do. */
  #ringAfterStep(act: Act, moved: readonly unknown[], isOver: boolean): void {
    const { bells } = this.#parts;
    const ids = moved.map(checkedId).filter((id) => id !== undefined);
    if (ids.length > 0) bells.ringAndForget(bells.ringBehind("maildrop", ids, 2));
    if (!isOver) return;
    if (act === "retry") bells.ringAndForget(bells.ringLook("incoming"));
    if (act === "release") bells.ringAndForget(bells.ringLook("deferred"));
  }
}

function takesFrom(act: Act, queue: MessageQueue): boolean {
  return queuesOfAct[act].includes(queue) || namedQueuesOfAct[act].includes(queue);
}
