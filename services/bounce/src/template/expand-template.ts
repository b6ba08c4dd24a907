/**
 * Puts parameters into the text of a template.
 *
 * `$name` in all its forms; `delay_warning_time` and `maximal_queue_lifetime` with a unit behind (`_hours`) are that
 * many whole units.
 *
 * Departs: only parameters of one value that postmq has, since lists of tables may hold passwords; Postfix takes all
 * of main.cf.
 *
 * Source: bounce(5) "TEMPLATE MESSAGE TEXT FORMAT"; Postfix src/bounce/bounce_template.c.
 */
import { BadValue, expand, parameterTable } from "@postmq/config";
import type { ParameterRow, Parameters } from "@postmq/config";

export type OnExpansionWarning = (text: string) => void;

const unitSeconds: Readonly<Record<string, number>> = {
  seconds: 1,
  minutes: 60,
  hours: 3600,
  days: 86_400,
  weeks: 604_800,
};

/** @throws BadValue when a name is unknown or a form is wrong. */
export function expandTemplateLine(
  line: string,
  parameters: Parameters,
  onWarning: OnExpansionWarning,
): string {
  return expand(line, (name, isTested) => {
    const value = timeInUnits(name, parameters, onWarning) ?? parameterText(name, parameters);
    if (value !== undefined) return value;
    if (isTested) return "";
    throw new BadValue(`$${name} is no parameter that a template can show`);
  });
}

function timeInUnits(
  name: string,
  parameters: Parameters,
  onWarning: OnExpansionWarning,
): string | undefined {
  const match = /^(delay_warning_time|maximal_queue_lifetime)_(.*)$/.exec(name);
  if (match === null) return undefined;
  const unit = match[2] ?? "";
  const divisor = unitSeconds[unit];
  if (divisor === undefined) {
    throw new BadValue(`unrecognized suffix "${unit}" in parameter "${name}"`);
  }
  const ms =
    match[1] === "delay_warning_time"
      ? parameters.delay_warning_time
      : parameters.maximal_queue_lifetime;
  const result = Math.floor(ms / 1000 / divisor);
  if (result > 999 && divisor < 86_400) {
    onWarning(`$${name} is ${result}: a larger unit would read better`);
  } else if (result === 0 && ms > 0 && divisor > 1) {
    onWarning(`$${name} is 0: a smaller unit is needed`);
  }
  return String(result);
}

const shownKinds: readonly string[] = ["text", "time", "size", "count", "yes-no", "one of"];

/** A parameter as one would write it; undefined: there is none of this name, or it is not shown. */
function parameterText(name: string, parameters: Parameters): string | undefined {
  const row = Object.entries<ParameterRow<unknown>>(parameterTable).find(([key]) => key === name);
  if (row === undefined || row[1].isSecret || !shownKinds.includes(row[1].kind)) return undefined;
  const value: unknown = Object.entries(parameters).find(([key]) => key === name)?.[1];
  switch (typeof value) {
    case "string":
      return value;
    case "boolean":
      return value ? "yes" : "no";
    case "number":
      return row[1].kind === "time" ? shortestTime(value) : String(value);
    default:
      return undefined;
  }
}

/** `5d` rather than `432000s`. */
function shortestTime(ms: number): string {
  const units = { d: 86_400_000, h: 3_600_000, m: 60_000 };
  const fitting = Object.entries(units).find(([, unitMs]) => ms > 0 && ms % unitMs === 0);
  return fitting === undefined ? `${ms / 1000}s` : `${ms / fitting[1]}${fitting[0]}`;
}
