/**
 * How fast a stream of mail is delivered: by the clock, and by the processor time that the system could have had, since
 * the machine may be busy with other things as well.
 */
import { firstGood } from "@postmq/testing";

import { availableMs } from "./processor-time.ts";
import { quantile } from "./small-mail.ts";
import type { SteadyStream } from "./steady-stream.ts";

export type Rate = { readonly perSecond: number; readonly perProcessorSecond: number };

/** @returns the median of some windows */
export async function measureRate(
  stream: SteadyStream,
  how: {
    /** Every process of the system, and of the test. */
    readonly pids: readonly number[];
    readonly windows: number;
    readonly windowSeconds: number;
  },
): Promise<Rate> {
  const rates: Rate[] = [];
  for (let window = 0; window < how.windows; window += 1) {
    const beforeMs = await availableMs(how.pids);
    const count = await stream.count(how.windowSeconds);
    const ms = (await availableMs(how.pids)) - beforeMs;
    rates.push({ perSecond: count / how.windowSeconds, perProcessorSecond: (count * 1000) / ms });
  }
  return medianOf(rates);
}

/** Up to five measurements, until one is enough: a busy moment of the machine makes one slower and none faster. */
export function bestRate(
  measure: () => Promise<Rate>,
  isEnough: (rate: Rate) => boolean,
): Promise<Rate> {
  const isFaster = (one: Rate, other: Rate) => one.perProcessorSecond > other.perProcessorSecond;
  return firstGood(5, measure, isEnough, isFaster);
}

export function describeRate({ perSecond, perProcessorSecond }: Rate): string {
  return `${Math.round(perSecond)} (${Math.round(perProcessorSecond)})`;
}

/** By either measure on its own. */
export function medianOf(rates: readonly Rate[]): Rate {
  const middle = (values: readonly number[]) =>
    quantile(
      values.toSorted((a, b) => a - b),
      0.5,
    );
  return {
    perSecond: middle(rates.map((rate) => rate.perSecond)),
    perProcessorSecond: middle(rates.map((rate) => rate.perProcessorSecond)),
  };
}
