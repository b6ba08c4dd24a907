/**
 * Parameters from the environment: POSTMQ_<NAME IN CAPITALS>, or POSTMQ_<NAME>_FILE with the name of a file that
 * holds the value.
 *
 * A POSTMQ_ name that stands for no parameter is refused, except POSTMQ_CONFIG and the variables that Kubernetes
 * sets by itself for a service whose name begins with postmq (POSTMQ_SMTPD_PORT_2525_TCP_ADDR and the like).
 *
 * Source: DESIGN §7.
 */
import { readFileSync } from "node:fs";
import { PostmqError } from "@postmq/vocabulary";

import { parameterTable } from "./parameters.ts";

const prefix = "POSTMQ_";

export type Environment = Readonly<Record<string, string | undefined>>;

/** This process's environment: the one place that reads it. */
export function processEnvironment(): Environment {
  return process.env;
}

/** The variable that sets a parameter. */
export function environmentName(parameter: string): string {
  return prefix + parameter.toUpperCase();
}

const kubernetesNames =
  /_SERVICE_(?:HOST|PORT(?:_[A-Z0-9_]+)?)$|_PORT(?:_\d+_(?:TCP|UDP|SCTP)(?:_(?:PROTO|PORT|ADDR))?)?$/;

/**
 * Settings by parameter name. A name with capitals in it (smtp_tls_CAfile) is found whatever its case.
 *
 * @param isKnown whether a name is one that Postfix or postmq knows
 * @throws PMQ_CONFIG_INVALID for a name that stands for nothing, one set twice, and a file that can't be read
 */
export function readEnvironment(
  env: Environment,
  isKnown: (name: string) => boolean,
): ReadonlyMap<string, string> {
  const settings = new Map<string, string>();
  const set = (name: string, value: string, variable: string) => {
    if (settings.has(name)) {
      throw new PostmqError(
        "PMQ_CONFIG_INVALID",
        `${environmentName(name)} and ${variable} are both set; one of them must go`,
        { facts: { parameter: name } },
      );
    }
    settings.set(name, value.trim());
  };
  for (const [variable, value] of Object.entries(env).toSorted(byName)) {
    if (!variable.startsWith(prefix) || variable === "POSTMQ_CONFIG" || value === undefined)
      continue;
    const name = parameterName(variable.slice(prefix.length).toLowerCase());
    if (isKnown(name)) {
      set(name, value, variable);
    } else if (name.endsWith("_file") && isKnown(name.slice(0, -"_file".length))) {
      set(name.slice(0, -"_file".length), readValueFile(variable, value), variable);
    } else if (env["KUBERNETES_SERVICE_HOST"] === undefined || !kubernetesNames.test(variable)) {
      throw new PostmqError(
        "PMQ_CONFIG_INVALID",
        `${variable} is set, but neither Postfix nor postmq has a parameter ${name}`,
        { facts: { parameter: name } },
      );
    }
  }
  return settings;
}

const namesWithCapitals: ReadonlyMap<string, string> = new Map(
  Object.keys(parameterTable)
    .filter((name) => name !== name.toLowerCase())
    .map((name) => [name.toLowerCase(), name]),
);

function parameterName(name: string): string {
  return namesWithCapitals.get(name) ?? name;
}

function byName([a]: readonly [string, unknown], [b]: readonly [string, unknown]): number {
  return a < b ? -1 : 1;
}

function readValueFile(variable: string, fileName: string): string {
  try {
    return readFileSync(fileName, "utf8");
  } catch (cause) {
    throw new PostmqError("PMQ_CONFIG_INVALID", `${variable}: can't read the file ${fileName}`, {
      facts: { variable, file: fileName },
      cause,
    });
  }
}
