/** The parameters as a command reads them. */
import { existsSync, statSync } from "node:fs";
import { join } from "node:path";

import { loadParameters } from "@postmq/config";
import type { Parameters, ParameterSource } from "@postmq/config";

import type { CommandContext } from "./command.ts";

/** The checkout (or image) that this file belongs to; `npm start` there may have a main.cf and data of its own. */
export const installation = join(import.meta.dirname, "../../..");

/**
 * @param given what -c or -C named: a configuration directory or file. It wins over POSTMQ_CONFIG (a file), which wins
 *   over MAIL_CONFIG (a directory)
 * @throws PMQ_CONFIG_INVALID naming the parameter, the value and the bound
 */
export function readParameters(env: CommandContext["env"], given?: string): Parameters {
  return loadParameters(parameterSource(env, given));
}

/** Where a command's parameters come from. */
export function parameterSource(env: CommandContext["env"], given?: string): ParameterSource {
  const directory = given ?? (isSet(env["POSTMQ_CONFIG"]) ? undefined : env["MAIL_CONFIG"]);
  const named = isSet(directory) ? { POSTMQ_CONFIG: configFile(directory) } : {};
  return { env: { ...env, ...named }, configFile: join(installation, "main.cf") };
}

function configFile(path: string): string {
  const isDirectory = existsSync(path) && statSync(path).isDirectory();
  return isDirectory ? join(path, "main.cf") : path;
}

function isSet(text: string | undefined): text is string {
  return text !== undefined && text !== "";
}
