/**
 * Parameters as postconf shows them: texts as they were written, or as they expand, of those set and of those not.
 *
 * Nothing is checked here, so that a wrong value can be looked at. What holds a password is shown without it, also
 * where another value refers to it.
 *
 * Source: postconf(1); Postfix src/postconf/postconf_main.c, postconf_user.c, postconf_unused.c.
 */
import { environmentName } from "./environment.ts";
import { expand, referencedNames } from "./expand.ts";
import { readSettings, Resolver, thisMachine, transportNames } from "./load-parameters.ts";
import type { ParameterSource, Setting, Settings } from "./load-parameters.ts";
import { BadValue } from "./parameter-kinds.ts";
import type { ParameterRow, Surroundings } from "./parameter-kinds.ts";
import { parameterTable } from "./parameters.ts";
import { splitTransportName, transportParameterNames } from "./transport-parameters.ts";

export type ShownParameters = {
  /** Every name that means something here, in ASCII order: of the table, per transport, and the user's own. */
  readonly names: readonly string[];
  /** The file that was read, if any. */
  readonly configFile: string | undefined;
  isSet(name: string): boolean;
  /** undefined: nothing here is called that. `-x`: expanded; what can't be stays as written. */
  text(name: string, isExpanded: boolean): string | undefined;
  /** What is set and read by nobody, with where: a path or a variable. */
  readonly unused: readonly {
    readonly from: string;
    readonly name: string;
    readonly value: string;
  }[];
};

/**
 * @param onlyDefaults `-d`: as if nothing were set
 * @throws PMQ_CONFIG_INVALID when main.cf or the environment can't be read
 */
export function showParameters(source: ParameterSource, onlyDefaults: boolean): ShownParameters {
  const read = readSettings(source);
  const settings: Settings = onlyDefaults ? { ...read, byName: new Map() } : read;
  const surroundings: Surroundings = {
    ...(source.surroundings ?? thisMachine()),
    service: undefined,
  };
  const resolver = new Resolver(withoutSecrets(settings), surroundings);
  const transports = transportNames(settings.byName.get("transports")?.value);
  const referenced = new Set(
    [...settings.byName.values()].flatMap(({ value }) => referencedNames(value)),
  );
  const isKnown = (name: string) =>
    Object.hasOwn(parameterTable, name) ||
    splitTransportName(name, transports) !== undefined ||
    (settings.byName.has(name) && referenced.has(name));
  const written = (name: string): string => {
    const set = settings.byName.get(name)?.value;
    if (set !== undefined) return isSecret(name) ? withoutPassword(set) : set;
    if (Object.hasOwn(parameterTable, name)) return defaultText(name, resolver);
    const suffix = splitTransportName(name, transports)?.suffix;
    return suffix === undefined ? "" : `$${transportParameterNames[suffix]}`;
  };
  const perTransport = [...new Set(transports)].flatMap((transport) =>
    Object.keys(transportParameterNames).map((suffix) => `${transport}_${suffix}`),
  );
  const all = [...Object.keys(parameterTable), ...perTransport, ...settings.byName.keys()];
  return {
    names: [...new Set(all.filter(isKnown))].toSorted((a, b) => (a < b ? -1 : 1)),
    configFile: settings.configFile,
    isSet: (name) => settings.byName.has(name),
    text: (name, isExpanded) => {
      if (!isKnown(name)) return undefined;
      const text = written(name);
      return isExpanded && !isSecret(name) ? expanded(text, resolver) : text;
    },
    unused: [...settings.byName]
      .filter(([name]) => !isKnown(name))
      .map(([name, setting]) => ({
        from: placeOf(name, setting, settings),
        name,
        value: setting.value,
      })),
  };
}

/**
 * The text without what it hides: of a URL the password, of tables written out in place everything.
 *
 * A table in a file is named, since its name is no secret.
 */
export function withoutPassword(text: string): string {
  return text
    .replaceAll(/(\/\/[^:@/?#\s]*):\S*@/g, "$1:(secret)@")
    .replaceAll(/([?&](?:password|token)=)[^&\s]*/gi, "$1(secret)")
    .replaceAll(/\b(inline|static):(?:\{.*\}|\S+)/gs, "$1:(secret)");
}

function withoutSecrets(settings: Settings): Settings {
  const byName = new Map<string, Setting>();
  for (const [name, setting] of settings.byName) {
    const value = isSecret(name) ? withoutPassword(setting.value) : setting.value;
    byName.set(name, { ...setting, value });
  }
  return { ...settings, byName };
}

function isSecret(name: string): boolean {
  const row: ParameterRow<unknown> | undefined = rowOf(name);
  return row?.isSecret === true;
}

function rowOf(name: string): ParameterRow<unknown> | undefined {
  return Object.entries<ParameterRow<unknown>>(parameterTable).find(([key]) => key === name)?.[1];
}

/** As one would write it; a default that depends on the machine as it is here. */
function defaultText(name: string, resolver: Resolver): string {
  const byDefault = rowOf(name)?.default;
  if (byDefault === undefined || typeof byDefault === "string") return byDefault ?? "";
  try {
    return resolver.valueOf(name);
  } catch (error) {
    if (!(error instanceof BadValue)) throw error;
    return "";
  }
}

function expanded(text: string, resolver: Resolver): string {
  try {
    return expand(text, (name, isTested) => resolver.valueOf(name, isTested));
  } catch (error) {
    if (!(error instanceof BadValue)) throw error;
    return text;
  }
}

function placeOf(name: string, setting: Setting, { configFile }: Settings): string {
  return setting.from === "environment" ? environmentName(name) : (configFile ?? "main.cf");
}
