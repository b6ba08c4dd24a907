/**
 * Lua scripts as functions: loaded from lua/, with their includes, and called by EVALSHA.
 *
 * `-- @include name` in a script stands for lua/include/name.lua, once: what an include needs it includes itself. A script that Redis does not know (after a
 * restart) is sent whole; that is safe, since NOSCRIPT means that nothing was executed.
 */
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import type { Redis } from "ioredis";

const luaDirectory = new URL("../lua/", import.meta.url);

export type ScriptArgument = string | number | Buffer;

export type Script = {
  readonly name: string;
  readonly source: string;
  readonly sha: string;
};

function readLua(path: string): string {
  return readFileSync(new URL(path, luaDirectory), "utf8");
}

function withIncludes(text: string, included: Set<string>): string {
  return text.replaceAll(/^-- @include (\S+)$/gm, (_line, name: string) => {
    if (included.has(name)) return "";
    included.add(name);
    return withIncludes(readLua(`include/${name}.lua`), included);
  });
}

/** @param flags replaces the script's own shebang flags, e.g. "allow-oom". */
export function loadScript(name: string, flags?: string): Script {
  const text = withIncludes(readLua(`${name}.lua`), new Set());
  const source =
    flags === undefined ? text : `#!lua flags=${flags}\n${text.replace(/^#!lua.*\n/, "")}`;
  return { name, source, sha: createHash("sha1").update(source).digest("hex") };
}

function isNoScript(error: unknown): boolean {
  return error instanceof Error && error.message.startsWith("NOSCRIPT");
}

/** Runs a script; its reply as ioredis gives it: strings, numbers, arrays. Errors pass through unchanged. */
export async function runScript(
  redis: Redis,
  script: Script,
  keys: readonly string[],
  args: readonly ScriptArgument[],
): Promise<unknown> {
  try {
    return await redis.evalsha(script.sha, keys.length, ...keys, ...args);
  } catch (error) {
    if (!isNoScript(error)) throw error;
    return redis.eval(script.source, keys.length, ...keys, ...args);
  }
}

/** As runScript, with Buffers for strings in the reply. */
export async function runScriptBuffer(
  redis: Redis,
  script: Script,
  keys: readonly string[],
  args: readonly ScriptArgument[],
): Promise<unknown> {
  try {
    return await redis.callBuffer("EVALSHA", script.sha, keys.length, ...keys, ...args);
  } catch (error) {
    if (!isNoScript(error)) throw error;
    return redis.callBuffer("EVAL", script.source, keys.length, ...keys, ...args);
  }
}
