/**
 * Reads the parameters: environment over main.cf over defaults; expands, checks and types them.
 *
 * Every name that is set is looked at first: one that postmq reads is kept, one of Postfix's that postmq does not
 * read warns, one that neither knows is refused, unless it is a helper that another value refers to as `$name`. Then
 * every row of the table gets its value; `$name` is expanded where a value needs it, so what nobody reads can't be
 * wrong. A wrong value names the parameter, the value and the bound. Secrets are neither shown nor expanded.
 *
 * Source: DESIGN §7 "Parameters keep Postfix's names"; spec parameters.md; postconf(5).
 */
import { existsSync, readFileSync } from "node:fs";
import { hostname, networkInterfaces } from "node:os";
import { dirname, resolve } from "node:path";
import { areVerpDelimiters, PostmqError } from "@postmq/vocabulary";
import { readEnvironment } from "./environment.ts";
import type { Environment } from "./environment.ts";
import { expand, referencedNames } from "./expand.ts";
import { parseMainCf } from "./main-cf.ts";
import { BadValue } from "./parameter-kinds.ts";
import type { ParameterRow, Surroundings } from "./parameter-kinds.ts";
import { parameterTable } from "./parameters.ts";
import type { ParameterName, ParameterValues } from "./parameters.ts";
import { readPostfixNames } from "./postfix-names.ts";
import { splitTransportName, transportParameterNames } from "./transport-parameters.ts";
import type {
  TransportOverrides,
  TransportSuffix,
  TransportValue,
} from "./transport-parameters.ts";

/** The values of all parameters. */
export type Parameters = ParameterValues & {
  /** Per-transport settings (slow_destination_concurrency_limit); read by `transportParameter`. */
  readonly transportOverrides: TransportOverrides;
};

export type ParameterSource = {
  readonly env: Environment;
  /** The service that loads, for defaults that differ by service. */
  readonly service?: string;
  /**
   * A main.cf to read when POSTMQ_CONFIG is not set and /etc/postmq/main.cf does not exist. It may be missing too:
   * its directory then stands for the configuration's.
   */
  readonly configFile?: string;
  readonly onWarning?: (text: string) => void;
  /** Where the program runs; this machine if absent. */
  readonly surroundings?: Omit<Surroundings, "service">;
};

/** A setting as it was written, and where. */
export type Setting = { readonly value: string; readonly from: "environment" | "main.cf" };

/** Everything that was set, before defaults: what `postconf -n` shows. */
export type Settings = {
  readonly configDirectory: string;
  /** undefined when no file was read. */
  readonly configFile: string | undefined;
  readonly byName: ReadonlyMap<string, Setting>;
};

const systemConfigFile = "/etc/postmq/main.cf";

/** Transports that exist whatever `transports` says. Source: spec scheduling.md. */
const builtInTransports: readonly string[] = ["error", "retry", "local", "virtual", "discard"];

/** @throws PMQ_CONFIG_INVALID naming the parameter, its value and the bound, or the unknown name. */
export function loadParameters(source: ParameterSource): Parameters {
  const settings = readSettings(source);
  const surroundings: Surroundings = {
    ...(source.surroundings ?? thisMachine()),
    service: source.service,
  };
  const resolver = new Resolver(settings, surroundings);
  const values: Record<string, unknown> = {};
  for (const [name, row] of Object.entries<ParameterRow<unknown>>(parameterTable)) {
    values[name] = parseRow(row, name, {
      resolver,
      configDirectory: settings.configDirectory,
      onWarning: source.onWarning,
    });
  }
  const parameters = values as unknown as Parameters;
  checkVerpDelimiters(parameters);
  const transportOverrides = judgeNames(parameters, settings, resolver, source.onWarning);
  return Object.freeze({ ...parameters, transportOverrides });
}

/**
 * The value of a parameter that can be set per transport: T_<suffix> if set, else default_<suffix> (or, for
 * initial_destination_concurrency, the parameter of that name).
 *
 * e.g. `transportParameter(parameters, "slow", "destination_concurrency_limit")`.
 *
 * Source: postconf(5) "transport_destination_concurrency_limit".
 */
export function transportParameter<Suffix extends TransportSuffix>(
  parameters: Parameters,
  transport: string,
  suffix: Suffix,
): TransportValue<Suffix> {
  const overrides: TransportOverrides[Suffix] = parameters.transportOverrides[suffix];
  return overrides?.get(transport) ?? parameters[transportParameterNames[suffix]];
}

/** The protocol that a transport's workers speak. */
export type TransportKind = "smtp" | "lmtp";

/** Names of `transports` with their kinds: `relay:smtp` is a transport relay of kind smtp. */
export function parseTransports(
  parameters: Pick<Parameters, "transports">,
): ReadonlyMap<string, TransportKind> {
  return new Map(
    parameters.transports.map((item) => {
      const [name = item, kind = name] = item.split(":");
      return [name, kind === "lmtp" ? "lmtp" : "smtp"];
    }),
  );
}

/** What is set in the environment and in main.cf, without looking at values. */
export function readSettings(source: ParameterSource): Settings {
  const configFile = mainCfPath(source);
  const configDirectory = dirname(configFile);
  const wasRead = existsSync(configFile);
  const byName = new Map<string, Setting>();
  if (wasRead) {
    for (const [name, value] of parseMainCf(readConfigFile(configFile), configFile)) {
      byName.set(name, { value, from: "main.cf" });
    }
  }
  const postfixNames = readPostfixNames();
  const transports = transportNames(
    byName.get("transports")?.value,
    source.env["POSTMQ_TRANSPORTS"],
  );
  const isKnown = (name: string) =>
    Object.hasOwn(parameterTable, name) ||
    postfixNames.has(name) ||
    byName.has(name) ||
    splitTransportName(name, transports) !== undefined;
  for (const [name, value] of readEnvironment(source.env, isKnown)) {
    byName.set(name, { value, from: "environment" });
  }
  return { configDirectory, configFile: wasRead ? configFile : undefined, byName };
}

/** Transport names as far as they can be told before values are checked. */
export function transportNames(...lists: readonly (string | undefined)[]): readonly string[] {
  const row: ParameterRow<unknown> = parameterTable.transports;
  const byDefault = typeof row.default === "string" ? row.default : "";
  const written = lists.findLast((item) => item !== undefined) ?? byDefault;
  const names = written.split(/[\s,]+/).map((item) => item.replace(/:.*$/, ""));
  return [...names.filter((name) => name !== ""), ...builtInTransports];
}

/** The main.cf that is read, or would be if it were there. @throws PMQ_CONFIG_INVALID when POSTMQ_CONFIG names none */
export function mainCfPath(source: ParameterSource): string {
  const named = source.env["POSTMQ_CONFIG"];
  if (named !== undefined && named !== "") {
    if (!existsSync(named)) {
      throw new PostmqError(
        "PMQ_CONFIG_INVALID",
        `POSTMQ_CONFIG names ${named}, which does not exist`,
        {
          facts: { file: named },
        },
      );
    }
    return resolve(named);
  }
  if (existsSync(systemConfigFile) || source.configFile === undefined) return systemConfigFile;
  return resolve(source.configFile);
}

function readConfigFile(fileName: string): string {
  try {
    return readFileSync(fileName, "utf8");
  } catch (cause) {
    throw new PostmqError("PMQ_CONFIG_INVALID", `can't read ${fileName}`, {
      facts: { file: fileName },
      cause,
    });
  }
}

export function thisMachine(): Omit<Surroundings, "service"> {
  const addresses = Object.values(networkInterfaces()).flatMap((list) => list ?? []);
  return {
    hostName: hostname(),
    // A link-local address carries its interface's name after %; the client's address comes without.
    interfaceAddresses: addresses.map(({ address }) => address.replace(/%.*$/, "")),
  };
}

/** Expands settings and defaults by name, each at most once, and notices loops. */
export class Resolver {
  readonly #settings: Settings;
  readonly #surroundings: Surroundings;
  readonly #known = new Map<string, string>();
  readonly #underWay: string[] = [];

  constructor(settings: Settings, surroundings: Surroundings) {
    this.#settings = settings;
    this.#surroundings = surroundings;
  }

  /** @throws BadValue when it has no value or refers to itself. */
  valueOf(name: string, isTested = false): string {
    const known = this.#known.get(name);
    if (known !== undefined) return known;
    if (this.#underWay.includes(name)) {
      throw new BadValue(`it refers to itself: ${[...this.#underWay, name].join(" -> ")}`);
    }
    this.#underWay.push(name);
    const value = this.#expandedValue(name);
    this.#underWay.pop();
    if (value !== undefined) {
      this.#known.set(name, value);
      return value;
    }
    if (isTested) return "";
    throw new BadValue(`it refers to $${name}, which has no value here`);
  }

  #expandedValue(name: string): string | undefined {
    const row: ParameterRow<unknown> | undefined = Object.hasOwn(parameterTable, name)
      ? parameterTable[name as ParameterName]
      : undefined;
    const set = this.#settings.byName.get(name)?.value;
    if (row?.isSecret === true && set !== undefined) return set;
    if (set !== undefined) return expand(set, (other, tested) => this.valueOf(other, tested));
    if (name === "config_directory") return this.#settings.configDirectory;
    if (row === undefined) return undefined;
    const text =
      typeof row.default === "string"
        ? row.default
        : row.default.compute(
            this.#surroundings,
            (other) => this.#settings.byName.has(other),
            (other) => this.valueOf(other),
          );
    return expand(text, (other, tested) => this.valueOf(other, tested));
  }
}

/** Source: Postfix src/global/mail_params.c, which looks at these two together too. */
function checkVerpDelimiters(parameters: Parameters): void {
  const { default_verp_delimiters: delimiters, verp_delimiter_filter: allowed } = parameters;
  if (areVerpDelimiters(delimiters, allowed)) return;
  const problem = `it must be two characters of verp_delimiter_filter = ${JSON.stringify(allowed)}`;
  throw invalid("default_verp_delimiters", delimiters, new BadValue(problem));
}

type Reading = {
  readonly resolver: Resolver;
  readonly configDirectory: string;
  readonly onWarning: ((text: string) => void) | undefined;
};

function parseRow<Value>(row: ParameterRow<Value>, name: string, reading: Reading): Value {
  let written: string | undefined;
  try {
    const text = reading.resolver.valueOf(name);
    written = text;
    if (/[\0-\x08\x0a-\x1f\x7f]/.test(text)) throw new BadValue("it holds a control character");
    const isRelativePath = row.kind === "path" && text !== "";
    return row.parse(isRelativePath ? resolve(reading.configDirectory, text) : text, (problem) =>
      reading.onWarning?.(`parameter ${name} = ${JSON.stringify(text)}: ${problem}`),
    );
  } catch (error) {
    if (!(error instanceof BadValue)) throw error;
    throw invalid(name, row.isSecret ? "(secret)" : written, error);
  }
}

function invalid(name: string, written: string | undefined, problem: BadValue): PostmqError {
  const shown = written === undefined ? "" : ` = ${JSON.stringify(written)}`;
  return new PostmqError("PMQ_CONFIG_INVALID", `parameter ${name}${shown}: ${problem.message}`, {
    facts: { parameter: name, ...(written === undefined ? {} : { value: written }) },
    cause: problem,
  });
}

/** Warns of names that have no effect, refuses unknown ones. @returns the per-transport settings. */
function judgeNames(
  parameters: Parameters,
  settings: Settings,
  resolver: Resolver,
  onWarning: ((text: string) => void) | undefined,
): TransportOverrides {
  const postfixNames = readPostfixNames();
  const transports = [...parseTransports(parameters).keys(), ...builtInTransports];
  const referenced = new Set(
    [...settings.byName.values()].flatMap(({ value }) => referencedNames(value)),
  );
  const reading = { resolver, configDirectory: settings.configDirectory, onWarning };
  const overrides: { [Suffix in TransportSuffix]?: Map<string, unknown> } = {};
  for (const name of settings.byName.keys()) {
    if (Object.hasOwn(parameterTable, name)) {
      const row: ParameterRow<unknown> = parameterTable[name as ParameterName];
      if (row.readBy.length === 0) onWarning?.(`parameter ${name} has no effect here yet`);
      continue;
    }
    const perTransport = splitTransportName(name, transports);
    if (perTransport !== undefined) {
      const { transport, suffix } = perTransport;
      const row: ParameterRow<unknown> = parameterTable[transportParameterNames[suffix]];
      (overrides[suffix] ??= new Map()).set(transport, parseRow(row, name, reading));
    } else if (postfixNames.has(name)) {
      if (!referenced.has(name)) onWarning?.(`parameter ${name} of Postfix has no effect here`);
    } else if (!referenced.has(name)) {
      throw new PostmqError(
        "PMQ_CONFIG_INVALID",
        `neither Postfix nor postmq has a parameter ${name}, and no other value refers to it`,
        { facts: { parameter: name } },
      );
    }
  }
  // A row's parse made each value, so each has the type of its suffix.
  return Object.freeze(overrides as TransportOverrides);
}
