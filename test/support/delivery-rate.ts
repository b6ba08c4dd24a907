/**
 * How fast a stream of mail is delivered: by the clock, and by the processor time that the system could have had, since
 * the machine may be busy with other things as well.
 */
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

/** A busy moment of the machine makes a measurement slower and none faster: the best of up to five; enough is enough. */
export async function bestRate(
  measure: () => Promise<Rate>,
  isEnough: (rate: Rate) => boolean,
): Promise<Rate> {
  let best = await measure();
  for (let round = 2; round <= 5 && !isEnough(best); round += 1) {
    const next = await measure();
    if (next.perProcessorSecond > best.perProcessorSecond) best = next;
  }
  return best;
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
