/**
 * An operation as a caller asks for it: what the body of `POST /v1/operations` may hold, and the same kept as the task
 * of a stored operation, for whichever showq carries it on.
 *
 * Source: spec http-api.md §2 "POST /v1/operations".
 */
import type { Act } from "@postmq/queue-store";
import { PostmqError } from "@postmq/vocabulary";

import { refusal } from "./queue-query.ts";

const operationActions = [
  "delete",
  "hold",
  "release",
  "requeue",
  "expire",
  "expire_force",
  "bounce",
  "retry",
  "move",
] as const;
export type OperationAction = (typeof operationActions)[number];

/** The acts of each action, one after the other over the whole selection. */
const actsOf: Readonly<Record<OperationAction, readonly Act[]>> = {
  delete: ["delete"],
  hold: ["hold"],
  release: ["release"],
  requeue: ["requeue"],
  expire: ["expire"],
  /** postsuper -f: what is in hold is let go besides. */
  expire_force: ["expire", "release"],
  /** Returned to its sender at once. */
  bounce: ["expire", "release", "retry"],
  retry: ["retry"],
  /** To another instance, which is no act on the message: move-operation.ts. */
  move: [],
};

/** Later versions know these. */
const laterActions = ["schedule"] as const;
const instancePattern = "^[A-Za-z0-9_-]{1,32}$";

/** The names of a query of `GET /v1/messages`, each with one value or several. */
export type Select = Readonly<Record<string, string | readonly string[]>>;

export type AskedOperation = {
  readonly action: OperationAction;
  readonly select: Select;
  /** For `move`: the instance. */
  readonly to?: string;
  /** The selection is empty, and that is meant. */
  readonly all: boolean;
  readonly isDryRun: boolean;
  readonly reason: string;
  /** Name of the token. */
  readonly who: string;
};

export type OperationBody = {
  readonly action: string;
  readonly select?: Select;
  readonly to?: string;
  readonly all?: boolean;
  readonly dry_run?: boolean;
  readonly reason: string;
};

const reasonSchema = { type: "string", minLength: 1, maxLength: 500, pattern: "\\S" } as const;
const valueSchema = { type: "string", maxLength: 1_000 } as const;

export const operationBodySchema = {
  type: "object",
  additionalProperties: false,
  required: ["action", "reason"],
  properties: {
    action: { enum: [...operationActions, ...laterActions] },
    select: {
      type: "object",
      maxProperties: 30,
      additionalProperties: {
        // A part with no value at all would not narrow the selection, which would then mean more than was asked for.
        anyOf: [valueSchema, { type: "array", minItems: 1, maxItems: 1_000, items: valueSchema }],
      },
    },
    to: { type: "string", pattern: instancePattern },
    all: { type: "boolean" },
    dry_run: { type: "boolean" },
    reason: reasonSchema,
  },
} as const;

export const cancelBodySchema = {
  type: "object",
  additionalProperties: false,
  required: ["reason"],
  properties: { reason: reasonSchema },
} as const;

export function actsOfAction(action: OperationAction): readonly Act[] {
  return actsOf[action];
}

/** @throws PMQ_USAGE (422) for an action of a later version, or a place to move to where there is none to be */
export function askedOperation(body: OperationBody, who: string): AskedOperation {
  const action = knownAction(body.action);
  if (action === undefined)
    throw refusal("action", `"${body.action}" is not supported by this version`);
  if ((action === "move") !== (body.to !== undefined)) {
    throw refusal("to", "names the instance that messages are moved to, and is for move alone");
  }
  return {
    action,
    select: body.select ?? {},
    ...(body.to === undefined ? {} : { to: body.to }),
    all: body.all === true,
    isDryRun: body.dry_run === true,
    reason: body.reason,
    who,
  };
}

/** Name and value of each part of a selection, a part with several values as often. */
export function pairsOf(select: Select): readonly (readonly [string, string])[] {
  return Object.entries(select).flatMap(([name, value]) =>
    [value].flat().map((one) => [name, one] as const),
  );
}

export function formatTask(asked: AskedOperation): string {
  return JSON.stringify(asked);
}

/** @throws PMQ_USAGE for a task of another version */
export function parseTask(text: string): AskedOperation {
  const fields = fieldsOf(text);
  const action = knownAction(fields.get("action"));
  const select = parseSelect(fields.get("select"));
  const [reason, who, to] = [fields.get("reason"), fields.get("who"), fields.get("to")];
  if (
    action === undefined ||
    select === undefined ||
    typeof reason !== "string" ||
    typeof who !== "string" ||
    (action === "move") !== (typeof to === "string")
  ) {
    throw new PostmqError(
      "PMQ_USAGE",
      "the operation was asked for in words that this version does not know",
    );
  }
  return {
    action,
    select,
    ...(typeof to === "string" ? { to } : {}),
    all: fields.get("all") === true,
    isDryRun: fields.get("isDryRun") === true,
    reason,
    who,
  };
}

/** What there is to tell of a task, of another version too. */
export function wordsOfTask(
  text: string,
): Pick<AskedOperation, "who" | "reason" | "isDryRun"> & Record<"action" | "selection", string> {
  const fields = fieldsOf(text);
  const word = (name: string): string => {
    const value = fields.get(name);
    return typeof value === "string" ? value : "";
  };
  return {
    who: word("who"),
    action: word("action"),
    selection: JSON.stringify(fields.get("select") ?? {}),
    reason: word("reason"),
    isDryRun: fields.get("isDryRun") === true,
  };
}

function fieldsOf(text: string): ReadonlyMap<string, unknown> {
  try {
    const value: unknown = JSON.parse(text);
    return new Map(typeof value === "object" && value !== null ? Object.entries(value) : []);
  } catch {
    // Rubbish has no fields, which is told as any unknown task.
    return new Map();
  }
}

function knownAction(name: unknown): OperationAction | undefined {
  return operationActions.find((action) => action === name);
}

function parseSelect(value: unknown): Select | undefined {
  if (typeof value !== "object" || value === null) return undefined;
  const parts = new Map<string, string | readonly string[]>();
  for (const [name, part] of Object.entries(value)) {
    const one: unknown = part;
    if (typeof one === "string") parts.set(name, one);
    else if (isTexts(one)) parts.set(name, one);
    else return undefined;
  }
  return Object.fromEntries(parts);
}

/** Not an empty list: it would select everything. */
function isTexts(value: unknown): value is readonly string[] {
  return Array.isArray(value) && value.length > 0 && value.every((one) => typeof one === "string");
}
