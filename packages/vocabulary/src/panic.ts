/**
 * A broken invariant: end the process, so that the supervisor restarts it and the queues recover.
 *
 * It throws a PanicError that nobody may catch; service-kit's handler for uncaught errors logs it and exits 70
 * (EX_SOFTWARE). It throws instead of exiting so that a test can see it.
 */
export class PanicError extends Error {
  override readonly name = "PanicError";
}

export function panic(what: string): never {
  throw new PanicError(`panic: ${what}`);
}
