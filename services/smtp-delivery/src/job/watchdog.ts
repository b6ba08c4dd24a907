/**
 * Ends the process when a delivery takes longer than any can: something is stuck in a way that nobody foresaw.
 *
 * As a bug does: the leader then reaps the process's claims, and its connections close. An outage of Redis is no such
 * thing, and outcomes that wait for it would be lost: while there are some, the end is put off.
 *
 * Source: spec S35; postconf(5) daemon_timeout; Postfix src/util/watchdog.c.
 */
import { panic } from "@postmq/vocabulary";

const putOffMs = 1_000;
/** What a timer can count. */
const longestMs = 2 ** 31 - 1;

/** Dispose of it when the delivery has ended. */
export function startWatchdog(options: {
  readonly limitMs: number;
  readonly what: string;
  /** Whether the process has facts that only it knows. */
  readonly holdsFacts: () => boolean;
}): Disposable {
  const { limitMs, what, holdsFacts } = options;
  const bark = () => {
    if (!holdsFacts()) panic(`${what} has taken longer than daemon_timeout`);
    timer = setTimeout(bark, putOffMs);
  };
  let timer = setTimeout(bark, Math.min(limitMs, longestMs));
  return { [Symbol.dispose]: () => clearTimeout(timer) };
}
