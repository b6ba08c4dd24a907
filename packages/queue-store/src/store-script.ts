/** Scripts and single commands of one instance, whose failures are the store's: a raw error ends a daemon. */
import type { Redis } from "ioredis";

import { storeError } from "./redis-connection.ts";
import { runScript, runScriptBuffer } from "./script.ts";
import type { Script, ScriptArgument } from "./script.ts";

/** What a script is run with, but for the prefix of the instance. */
export type ScriptCall = {
  readonly script: Script;
  readonly keys: readonly string[];
  readonly args: readonly ScriptArgument[];
};

/**
 * The reply to a single command.
 *
 * @throws PostmqError
 */
export async function fromStore<T>(reply: Promise<T>): Promise<T> {
  try {
    return await reply;
  } catch (error) {
    throw storeError(error);
  }
}

/**
 * @param prefix of the instance: the first of the script's arguments
 * @throws PostmqError
 */
export function runInstanceScript(
  redis: Redis,
  prefix: string,
  { script, keys, args }: ScriptCall,
): Promise<unknown> {
  return fromStore(runScript(redis, script, keys, [prefix, ...args]));
}

/** The same, with Buffers for strings in the reply. */
export function runInstanceScriptBuffer(
  redis: Redis,
  prefix: string,
  { script, keys, args }: ScriptCall,
): Promise<unknown> {
  return fromStore(runScriptBuffer(redis, script, keys, [prefix, ...args]));
}
