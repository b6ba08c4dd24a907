/**
 * The audit log: who did what to which messages, and why; the last 10 000 notes or so, in one stream.
 *
 * What people typed is cut to a length and made printable before it is kept, so that nothing in it can drive the
 * terminal of who reads it.
 *
 * Source: spec http-api.md §2 "every mutating call takes `reason`, is audited".
 */
import type { Redis } from "ioredis";
import type { AuditEntry, Auditing } from "./contract-of-operators.ts";
import { auditOutcomes } from "./contract-of-operators.ts";
import { loadScript } from "./script.ts";
import type { StoreParts } from "./store-parts.ts";
import { fromStore, runInstanceScript } from "./store-script.ts";

const auditScript = loadScript("audit");
const mostKept = 10_000;
const mostCharacters = { who: 100, by: 40, action: 60, selection: 1_000, reason: 500 } as const;

type Note = Omit<AuditEntry, "atMs">;

export class AuditingStore implements Auditing {
  readonly #parts: StoreParts;
  readonly #redis: Redis;

  constructor(parts: StoreParts) {
    this.#parts = parts;
    this.#redis = parts.connect("patient", "auditing");
  }

  async audit(entry: Note): Promise<void> {
    const { keys } = this.#parts;
    const args = [mostKept, JSON.stringify(bounded(entry))];
    const call = { script: auditScript, keys: [keys.audit], args };
    await runInstanceScript(this.#redis, keys.prefix, call);
  }

  async readAudit(options: { readonly cursor?: string; readonly limit: number }): Promise<{
    readonly entries: readonly AuditEntry[];
    readonly cursor?: string;
  }> {
    const from = options.cursor === undefined ? "+" : `(${options.cursor}`;
    const { audit } = this.#parts.keys;
    const found = await fromStore(this.#redis.xrevrange(audit, from, "-", "COUNT", options.limit));
    const last = found.at(-1)?.[0];
    return {
      entries: found
        .map(([id, [, json]]) => parseNote(id, json ?? ""))
        .filter((entry) => entry !== undefined),
      ...(found.length < options.limit || last === undefined ? {} : { cursor: last }),
    };
  }
}

function bounded(entry: Note): Note {
  const { who, by, action, selection, reason, operation, outcome, count } = entry;
  return {
    who: cut(who, mostCharacters.who),
    by: cut(by, mostCharacters.by),
    action: cut(action, mostCharacters.action),
    selection: cut(selection, mostCharacters.selection),
    reason: cut(reason, mostCharacters.reason),
    ...(operation === undefined ? {} : { operation: cut(operation, mostCharacters.action) }),
    outcome,
    ...(count === undefined ? {} : { count }),
  };
}

function cut(text: string, most: number): string {
  const printable = text.toWellFormed().replaceAll(/[\p{Cc}\u2028\u2029]/gu, "?");
  return printable.length <= most ? printable : `${printable.slice(0, most - 1).toWellFormed()}…`;
}

/** undefined: rubbish, or from a version with other words; it must not end the listing. */
function parseNote(id: string, json: string): AuditEntry | undefined {
  let note: unknown;
  try {
    note = JSON.parse(json);
  } catch {
    return undefined;
  }
  if (typeof note !== "object" || note === null) return undefined;
  const fields = new Map<string, unknown>(Object.entries(note));
  const text = (name: string): string => {
    const value = fields.get(name);
    return typeof value === "string" ? value : "";
  };
  const outcome = auditOutcomes.find((word) => word === fields.get("outcome"));
  const count = fields.get("count");
  if (outcome === undefined) return undefined;
  return {
    atMs: Number.parseInt(id, 10),
    who: text("who"),
    by: text("by"),
    action: text("action"),
    selection: text("selection"),
    reason: text("reason"),
    ...(text("operation") === "" ? {} : { operation: text("operation") }),
    outcome,
    ...(typeof count === "number" ? { count } : {}),
  };
}
