/**
 * Operations that outlive the process that began them: kept in Redis with how far they are, held by one process at a
 * time, taken by another when that one is silent for too long.
 *
 * Time is Redis's. Every save names the taking under which it was made: a process that was away while another took the
 * operation over can neither overwrite what that one saved nor end it. Steps are safe to repeat, so the step that such a
 * process was in does no harm.
 *
 * What somebody asks for goes over a hasty connection: sent later, or again, it would be carried out after they were told
 * that it was not taken.
 *
 * Source: spec http-api.md §2 "/v1/operations".
 */
import { randomBytes } from "node:crypto";
import type { Redis } from "ioredis";
import { panic } from "@postmq/vocabulary";
import { acts } from "./contract-of-operators.ts";
import type { Operations, StoredOperation, TakenOperation } from "./contract-of-operators.ts";
import { whenOpen } from "./redis-connection.ts";
import { asText, asWord } from "./script-reply.ts";
import { loadScript } from "./script.ts";
import type { Script, ScriptArgument } from "./script.ts";
import { fromStore, runInstanceScript } from "./store-script.ts";
import type { StoreParts } from "./store-parts.ts";

const scripts = {
  create: loadScript("create-operation"),
  take: loadScript("take-operation"),
  save: loadScript("save-operation"),
  cancel: loadScript("cancel-operation"),
};
const fields = ["task", "progress", "state", "created", "updated", "takes", "vain"] as const;
const states = ["running", "cancelling", "done", "cancelled", "failed"] as const;
const mostOpen = 100;
const mostKept = 500;
const endedLifeMs = 7 * 86_400_000;

export class OperationsStore implements Operations {
  readonly #parts: StoreParts;
  readonly #redis: Redis;
  readonly #hasty: Redis;
  /** Waited for by all who ask while that connection is not open. */
  #opening: Promise<void> | undefined;

  constructor(parts: StoreParts) {
    this.#parts = parts;
    this.#redis = parts.connect("patient", "operations");
    this.#hasty = parts.connect("hasty", "asking");
  }

  #run(script: Script, keys: readonly string[], args: readonly ScriptArgument[]): Promise<unknown> {
    return runInstanceScript(this.#redis, this.#parts.keys.prefix, { script, keys, args });
  }

  /** @throws PMQ_STORE_NO_REPLY when nobody knows whether it was done; anything else means that it was not */
  async #ask(
    script: Script,
    keys: readonly string[],
    args: readonly ScriptArgument[],
  ): Promise<unknown> {
    this.#opening ??= whenOpen(this.#hasty).finally(() => (this.#opening = undefined));
    await this.#opening;
    return await runInstanceScript(this.#hasty, this.#parts.keys.prefix, { script, keys, args });
  }

  async create(operation: {
    readonly id: string;
    readonly task: string;
  }): Promise<"created" | "many"> {
    const { keys } = this.#parts;
    const id = checkedOperationId(operation.id) ?? panic("an operation's id is malformed");
    return asWord(
      await this.#ask(
        scripts.create,
        [keys.operation(id), keys.operations, keys.openOperations],
        [id, operation.task, mostOpen, mostKept],
      ),
      ["created", "many"] as const,
    );
  }

  async read(id: string): Promise<StoredOperation | undefined> {
    if (checkedOperationId(id) === undefined) return undefined;
    const counts = acts.map((act) => `n:${act}`);
    const key = this.#parts.keys.operation(id);
    const values = await fromStore(this.#redis.hmget(key, ...fields, ...counts));
    return values[0] === null ? undefined : readOperation(id, values);
  }

  async listOperations(options: { readonly cursor?: string; readonly limit: number }): Promise<{
    readonly operations: readonly StoredOperation[];
    readonly cursor?: string;
  }> {
    const from = options.cursor === undefined ? "+" : `(${options.cursor}`;
    const key = this.#parts.keys.operations;
    const ids = await fromStore(
      this.#redis.zrevrangebylex(key, from, "-", "LIMIT", 0, options.limit),
    );
    const found = await Promise.all(ids.map((id) => this.read(id)));
    const last = ids.at(-1);
    return {
      operations: found.filter((operation) => operation !== undefined),
      ...(ids.length < options.limit || last === undefined ? {} : { cursor: last }),
    };
  }

  async take(holdMs: number): Promise<TakenOperation | undefined> {
    const holder = `${this.#parts.worker}.${randomBytes(6).toString("hex")}`;
    const id = asText(
      await this.#run(scripts.take, [this.#parts.keys.openOperations], [holder, holdMs]),
    );
    const operation = id === "" ? undefined : await this.read(id);
    return operation && { ...operation, holder };
  }

  async save(
    { id, holder }: { readonly id: string; readonly holder: string },
    options: {
      readonly progress: string;
      readonly holdMs: number;
      readonly end?: "done" | "cancelled" | "failed";
    },
  ): Promise<"saved" | "cancelling" | "lost"> {
    const { keys } = this.#parts;
    const { progress, holdMs, end } = options;
    return asWord(
      await this.#run(
        scripts.save,
        [keys.operation(id), keys.openOperations],
        [id, holder, progress, holdMs, end ?? "", endedLifeMs],
      ),
      ["saved", "cancelling", "lost"] as const,
    );
  }

  async cancel(id: string): Promise<boolean> {
    if (checkedOperationId(id) === undefined) return false;
    return (await this.#ask(scripts.cancel, [this.#parts.keys.operation(id)], [])) === 1;
  }
}

/** What may be in a key. */
function checkedOperationId(id: string): string | undefined {
  return /^[0-9a-z-]{1,40}$/.test(id) ? id : undefined;
}

function readOperation(id: string, values: readonly (string | null)[]): StoredOperation {
  const [task, progress, state, created, updated, takes, vain, ...counts] = values;
  return {
    id,
    task: task ?? "",
    progress: progress ?? "",
    // A word that this version does not know: it can only have ended in a way of its own.
    state: states.find((word) => word === state) ?? "failed",
    createdMs: Number(created),
    updatedMs: Number(updated),
    takes: Number(takes),
    takesInVain: Number(vain),
    done: Object.fromEntries(
      acts.flatMap((act, i) => {
        const count = counts[i] ?? null;
        return count === null ? [] : [[act, Number(count)]];
      }),
    ),
  };
}
