/**
 * One step of the check: a script looks; what it finds is looked at again; what is still so is told, or mended and
 * looked at a third time.
 *
 * Source: contract-of-checking.ts.
 */
import type { Redis } from "ioredis";
import { panic } from "@postmq/vocabulary";
import { findingKinds } from "./contract-of-checking.ts";
import type { Finding, FindingKind } from "./contract-of-checking.ts";
import { storeError } from "./redis-connection.ts";
import { asArray, asText } from "./script-reply.ts";
import { loadScript, runScript } from "./script.ts";
import type { Script, ScriptArgument } from "./script.ts";

/** What a script found. Kinds beyond those of findings are words to its caller. */
export type Found = {
  readonly where: string;
  readonly kind: string;
  readonly text: string;
  readonly rest: readonly unknown[];
};

/** A script loaded twice: to look, when Redis lets it write nothing, and to mend. */
export class CheckScript {
  readonly #looks: Script;
  readonly #mends: Script;

  constructor(name: string) {
    this.#looks = loadScript(name, "no-writes");
    this.#mends = loadScript(name);
  }

  async run(
    redis: Redis,
    options: {
      readonly isMending: boolean;
      readonly keys: readonly string[];
      readonly prefix: string;
      readonly args: readonly ScriptArgument[];
    },
  ): Promise<readonly unknown[]> {
    const { isMending, keys, prefix, args } = options;
    try {
      const script = isMending ? this.#mends : this.#looks;
      return asArray(await runScript(redis, script, keys, [prefix, isMending ? "1" : "", ...args]));
    } catch (error) {
      throw storeError(error);
    }
  }
}

export function readFound(reply: readonly unknown[]): readonly Found[] {
  return reply.map((entry) => {
    const [where, kind, text, ...rest] = asArray(entry);
    return { where: asText(where), kind: asText(kind), text: asText(text), rest };
  });
}

export function isFinding(found: Found): boolean {
  return findingKinds.some((kind) => kind === found.kind);
}

function kindOf(found: Found): FindingKind {
  return findingKinds.find((kind) => kind === found.kind) ?? panic(`no finding: ${found.kind}`);
}

export function told(found: Found, outcome: Finding["outcome"]): Finding {
  return { kind: kindOf(found), where: found.where, text: found.text, outcome };
}

function isSame(one: Found, other: Found): boolean {
  return one.kind === other.kind && one.where === other.where;
}

/** Of those, the ones that are still so. */
export function stillSo(found: readonly Found[], again: readonly Found[]): readonly Found[] {
  return again.filter((one) => found.some((other) => isSame(one, other)));
}

/**
 * Looks, looks again, and mends.
 *
 * @param run the script, over the same things each time; what it finds
 */
export async function* inThreeLooks(
  isMending: boolean,
  run: (mends: boolean) => Promise<readonly Found[]>,
): AsyncGenerator<Finding, void, void> {
  const first = (await run(false)).filter(isFinding);
  if (first.length === 0) return;
  const found = stillSo(first, (await run(false)).filter(isFinding));
  if (found.length === 0) return;
  if (!isMending) {
    for (const one of found) yield told(one, "found");
    return;
  }
  await run(true);
  const left = await run(false);
  for (const one of found) {
    yield told(one, left.some((other) => isSame(one, other)) ? "left" : "mended");
  }
}
