/**
 * The kinds of parameters: how a value is written, what bounds it has, and what it becomes in the program.
 *
 * A kind makes a row of the parameter table. Its `parse` takes the expanded text and throws BadValue with the
 * bound that was missed; `load-parameters.ts` adds the parameter's name and value.
 *
 * Source: postconf(5) "parameter types"; spec parameters.md.
 */
import { isIP } from "node:net";

import { serviceNames } from "@postmq/vocabulary";

/** Who reads a parameter: services by name, `commands` (sendmail, mailq …) and `start` (the supervisor). */
export const parameterReaders = [...serviceNames, "commands", "start"] as const;
export type ParameterReader = (typeof parameterReaders)[number];

export const parameterKinds = [
  "time",
  "size",
  "count",
  "share",
  "yes-no",
  "one of",
  "text",
  "list",
  "weights",
  "feedback",
  "listen",
  "path",
  "url",
] as const;
export type ParameterKind = (typeof parameterKinds)[number];

/** Facts about where the program runs, for defaults that depend on it. */
export type Surroundings = {
  /** As gethostname() tells it. */
  readonly hostName: string;
  /** Addresses of this host's network interfaces. */
  readonly interfaceAddresses: readonly string[];
  /** The service that loads its parameters, if it is one. */
  readonly service: string | undefined;
};

/** A default that is made at start; `shown` is what the documentation says. */
export type ComputedDefault = {
  readonly shown: string;
  readonly compute: (
    surroundings: Surroundings,
    isSet: (name: string) => boolean,
    valueOf: (name: string) => string,
  ) => string;
};

export type ParameterRow<Value> = {
  readonly kind: ParameterKind;
  /** As one would write it in main.cf; `$name` expands. */
  readonly default: string | ComputedDefault;
  /** The bounds in words, for documents and messages; empty when there are none. */
  readonly bounds: string;
  /** Empty: no service reads it yet, and setting it warns. */
  readonly readBy: readonly ParameterReader[];
  readonly source: string;
  readonly about: string;
  /** T_<name without default_> overrides it for transport T. */
  readonly isPerTransport: boolean;
  /** Never shown; `$` is not expanded in it. */
  readonly isSecret: boolean;
  /** onWarning hears of a value that is taken as another one. */
  readonly parse: (text: string, onWarning?: (problem: string) => void) => Value;
};

/** A value that its kind refuses; the message says what would do. */
export class BadValue extends Error {
  override readonly name = "BadValue";
}

type Basics = {
  readonly default: string | ComputedDefault;
  readonly readBy: readonly ParameterReader[];
  readonly source: string;
  readonly about: string;
  readonly isPerTransport?: boolean;
};

function row<Value>(
  kind: ParameterKind,
  basics: Basics,
  bounds: string,
  parse: ParameterRow<Value>["parse"],
): ParameterRow<Value> {
  return {
    kind,
    default: basics.default,
    bounds,
    readBy: basics.readBy,
    source: basics.source,
    about: basics.about,
    isPerTransport: basics.isPerTransport ?? false,
    isSecret: false,
    parse,
  };
}

const timeUnitsMs: Readonly<Record<string, number>> = {
  s: 1000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
  w: 604_800_000,
};

/** Milliseconds of a time such as `300s`; a bare number is in `unit`. One number, one unit, no fractions. */
function parseTime(text: string, unit: string): number {
  const match = /^(\d{1,9})([smhdw]?)$/i.exec(text);
  const unitMs = timeUnitsMs[(match?.[2] || unit).toLowerCase()];
  if (match === null || unitMs === undefined) {
    throw new BadValue("a time is a whole number with one of the units s, m, h, d, w");
  }
  return Number(match[1]) * unitMs;
}

function boundsText(min: string | number, max: string | number | undefined): string {
  return max === undefined ? `${min} or more` : `${min} to ${max}`;
}

/** A time span; the value is in milliseconds. */
export function time(
  basics: Basics & {
    readonly min?: string;
    readonly max?: string;
    /** Unit of a bare number; s if absent. */
    readonly unit?: "s" | "h" | "d";
  },
): ParameterRow<number> {
  const unit = basics.unit ?? "s";
  const min = basics.min ?? "0s";
  const bounds = boundsText(min, basics.max);
  const minMs = parseTime(min, unit);
  const maxMs = basics.max === undefined ? Number.MAX_SAFE_INTEGER : parseTime(basics.max, unit);
  return row("time", basics, bounds, (text) => {
    const ms = parseTime(text, unit);
    if (ms < minMs || ms > maxMs) throw new BadValue(`it must be ${bounds}`);
    return ms;
  });
}

function parseWhole(text: string): number {
  if (!/^\d{1,15}$/.test(text)) throw new BadValue("it must be a whole number, digits only");
  return Number(text);
}

function withinBounds(value: number, min: number, max: number | undefined, bounds: string): number {
  if (value < min || (max !== undefined && value > max)) throw new BadValue(`it must be ${bounds}`);
  return value;
}

/** A whole number. */
export function count(
  basics: Basics & { readonly min?: number; readonly max?: number },
): ParameterRow<number> {
  const min = basics.min ?? 0;
  const bounds = boundsText(min, basics.max);
  return row("count", basics, bounds, (text) =>
    withinBounds(parseWhole(text), min, basics.max, bounds),
  );
}

const sizeFactors: Readonly<Record<string, number>> = {
  "": 1,
  K: 1024,
  M: 1024 ** 2,
  G: 1024 ** 3,
};

/** A number of bytes. Parameters of postmq's own also take 64K, 10M, 1G. */
export function size(
  basics: Basics & { readonly min?: number; readonly max?: number; readonly takesUnits?: boolean },
): ParameterRow<number> {
  const min = basics.min ?? 0;
  const bounds = `${boundsText(min, basics.max)} bytes`;
  return row("size", basics, bounds, (text) => {
    const match = basics.takesUnits === true ? /^(\d{1,12})([KMG]?)$/i.exec(text) : null;
    const factor = sizeFactors[match?.[2]?.toUpperCase() ?? ""] ?? 1;
    return withinBounds(parseWhole(match?.[1] ?? text) * factor, min, basics.max, bounds);
  });
}

/** A part of a whole, 0 to 1. */
export function share(basics: Basics): ParameterRow<number> {
  const bounds = "0 to 1";
  return row("share", basics, bounds, (text) => {
    if (!/^(?:0|1|0?\.\d{1,6}|[01]\.\d{1,6})$/.test(text)) {
      throw new BadValue("it must be a number from 0 to 1");
    }
    return withinBounds(Number(text), 0, 1, bounds);
  });
}

/** yes or no, in any case. */
export function yesNo(basics: Basics): ParameterRow<boolean> {
  return row("yes-no", basics, "yes or no", (text) => {
    const word = text.toLowerCase();
    if (word !== "yes" && word !== "no") throw new BadValue("it must be yes or no");
    return word === "yes";
  });
}

/** One word out of a fixed set, in any case. */
export function oneOf<const Word extends string>(
  words: readonly Word[],
  basics: Basics,
): ParameterRow<Word> {
  const bounds = words.join(", ");
  return row("one of", basics, bounds, (text) => {
    const word = words.find((candidate) => candidate === text.toLowerCase());
    if (word === undefined) throw new BadValue(`it must be one of ${bounds}`);
    return word;
  });
}

/** One line of text. */
export function text(
  basics: Basics & {
    /** What the text must look like, if anything, and how to say so. */
    readonly form?: { readonly pattern: RegExp; readonly saying: string };
  },
): ParameterRow<string> {
  const { form } = basics;
  return row("text", basics, form?.saying ?? "", (value) => {
    if (form !== undefined && !form.pattern.test(value))
      throw new BadValue(`it must be ${form.saying}`);
    return value;
  });
}

/** An address without a port, or nothing; brackets around it are taken off. */
export function ipAddress(family: 4 | 6, basics: Basics): ParameterRow<string> {
  const bounds = `an IPv${family} address, or empty`;
  return row("text", basics, bounds, (value) => {
    const address = value.replace(/^\[(.*)\]$/, "$1");
    if (address !== "" && isIP(address) !== family) throw new BadValue(`it must be ${bounds}`);
    return address;
  });
}

/** Splits at commas and white space outside braces. */
export function splitList(value: string): readonly string[] {
  const items: string[] = [];
  let item = "";
  let depth = 0;
  for (const character of value) {
    if (depth === 0 && /[\s,]/.test(character)) {
      if (item !== "") items.push(item);
      item = "";
      continue;
    }
    if (character === "{") depth += 1;
    if (character === "}") depth -= 1;
    if (depth < 0) throw new BadValue("a closing brace has no opening one");
    item += character;
  }
  if (depth !== 0) throw new BadValue("an opening brace has no closing one");
  if (item !== "") items.push(item);
  return items;
}

/** Items separated by commas or spaces. */
export function list(
  basics: Basics & {
    readonly bounds?: string;
    /** Throws BadValue when the items don't make sense. */
    readonly check?: (items: readonly string[]) => void;
  },
): ParameterRow<readonly string[]> {
  return row("list", basics, basics.bounds ?? "", (value) => {
    const items = splitList(value);
    basics.check?.(items);
    return items;
  });
}

/** Items `key=number`, separated by commas or spaces; a key's name may hold = itself. */
export function weights(basics: Basics): ParameterRow<ReadonlyMap<string, number>> {
  const bounds = "key=number, numbers above 0";
  return row("weights", basics, bounds, (value) => {
    const byKey = new Map<string, number>();
    for (const item of splitList(value)) {
      const match = /^(.+)=(\d{1,9}(?:\.\d{1,6})?|\.\d{1,6})$/.exec(item);
      const key = match?.[1];
      const weight = Number(match?.[2]);
      if (key === undefined || !(weight > 0)) throw new BadValue(`"${item}" is not ${bounds}`);
      if (byKey.has(key)) throw new BadValue(`"${key}" is in it twice`);
      byKey.set(key, weight);
    }
    return byKey;
  });
}

/**
 * How much one delivery changes a destination's window: a number, or a number divided by the window or its square root.
 *
 * Source: spec S27; postconf(5) default_destination_concurrency_positive_feedback.
 */
export type ConcurrencyFeedback =
  | { readonly kind: "fixed"; readonly value: number }
  | { readonly kind: "concurrency" | "sqrtConcurrency"; readonly numerator: number };

/**
 * Concurrency feedback: `number`, `number/number`, `number/concurrency`, `number/sqrt_concurrency`, from 0 to 1.
 *
 * What is malformed or out of bounds warns and counts as 1, as in Postfix.
 *
 * Source: spec S27; Postfix src/qmgr/qmgr_feedback.c.
 */
export function feedback(basics: Basics): ParameterRow<ConcurrencyFeedback> {
  const bounds = "number, n/m, n/concurrency or n/sqrt_concurrency, 0 to 1";
  return row("feedback", basics, bounds, (value, onWarning) => {
    const read = parseFeedback(value);
    if (read !== undefined) return read;
    onWarning?.(`it must be ${bounds}; 1 is used`);
    return { kind: "fixed", value: 1 };
  });
}

/** undefined: malformed, or not from 0 to 1. */
function parseFeedback(value: string): ConcurrencyFeedback | undefined {
  const decimal = String.raw`\d{1,9}(?:\.\d{0,9})?|\.\d{1,9}`;
  const match = new RegExp(
    `^(${decimal})(?:\\s*/\\s*(${decimal}|concurrency|sqrt_concurrency))?$`,
  ).exec(value.trim().toLowerCase());
  if (match === null) return undefined;
  const numerator = Number(match[1]);
  const divisor = match[2];
  const isNamed = divisor === "concurrency" || divisor === "sqrt_concurrency";
  const base = divisor === undefined || isNamed ? numerator : numerator / Number(divisor);
  if (!(base >= 0 && base <= 1)) return undefined;
  if (!isNamed) return { kind: "fixed", value: base };
  return { kind: divisor === "concurrency" ? "concurrency" : "sqrtConcurrency", numerator };
}

/** host:port to listen on; an IPv6 address in brackets; port 0 for any free one; empty: off. */
export function listen(basics: Basics): ParameterRow<string> {
  const bounds = "host:port, or empty for off";
  return row("listen", basics, bounds, (value) => {
    if (value === "") return value;
    const match = /^(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+):(\d{1,5})$/.exec(value);
    if (match === null || Number(match[1]) > 65_535) throw new BadValue(`it must be ${bounds}`);
    return value;
  });
}

/** A file or directory. Relative ones are made absolute from the configuration's directory; empty stays empty. */
export function path(basics: Basics): ParameterRow<string> {
  return row("path", basics, "", (value) => value);
}

/** A URL that may hold a password: never shown, and `$` stands for itself. */
export function secretUrl(
  basics: Basics & { readonly schemes: readonly string[] },
): ParameterRow<string> {
  const bounds = `a URL: ${basics.schemes.join(", ")}`;
  const parse = (value: string): string => {
    if (value !== "" && !basics.schemes.some((scheme) => value.startsWith(scheme))) {
      throw new BadValue(`it must be ${bounds}`);
    }
    return value;
  };
  return { ...row("url", basics, bounds, parse), isSecret: true };
}
