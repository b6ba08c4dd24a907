/** Parts of a message that are stored ahead of it, each with an expiry that every further part renews. Source: DESIGN §3. */
import type { Redis } from "ioredis";
import { loadScript, runScript } from "./script.ts";
import type { ScriptArgument } from "./script.ts";

const script = loadScript("stage-fields");

/** From its last part on: longer than any pause that smtpd_timeout allows. */
const stagedLifeSeconds = 3600;
/** Fields and values; more at a time are too many for Lua's stack. */
const mostPerScript = 4000;

/** @param fields field, value, field, value … Errors of Redis pass through unchanged. */
export async function stageFields(
  redis: Redis,
  prefix: string,
  key: string,
  fields: readonly ScriptArgument[],
): Promise<void> {
  for (let from = 0; from < fields.length; from += mostPerScript) {
    const some = fields.slice(from, from + mostPerScript);
    await runScript(redis, script, [key], [prefix, stagedLifeSeconds, ...some]);
  }
}
