/**
 * SIGINT, SIGTERM and SIGHUP for commands that work in steps: they end after the step they are in, and say how far they are.
 */
const signals = ["SIGINT", "SIGTERM", "SIGHUP"] as const;

/** Runs `use` with a signal that is aborted when the process is told to end. A second such signal ends it at once. */
export async function untilStopped<Result>(
  use: (signal: AbortSignal) => Promise<Result>,
): Promise<Result> {
  const controller = new AbortController();
  const stop = () => {
    controller.abort();
    for (const name of signals) process.off(name, stop);
  };
  for (const name of signals) process.on(name, stop);
  try {
    return await use(controller.signal);
  } finally {
    for (const name of signals) process.off(name, stop);
  }
}
