/** Which sysexits status a failure at start ends the process with. Source: sysexits.h; docs/ERRORS.md. */
import { exitCodes, isPostmqError } from "@postmq/vocabulary";

/** A start that would fail again as it is: the operator must act, and the supervisor gives up. */
const configCodes = ["PMQ_CONFIG_INVALID", "PMQ_STORE_UNFIT", "PMQ_TABLE_UNREADABLE"] as const;

const systemErrors: readonly string[] = ["EADDRINUSE", "EADDRNOTAVAIL", "EACCES", "EMFILE"];

export function exitStatusFor(error: unknown): number {
  if (configCodes.some((code) => isPostmqError(error, code))) return exitCodes.config;
  if (isPostmqError(error)) return exitCodes.tempFail;
  const code = error instanceof Error && "code" in error ? error.code : undefined;
  if (typeof code === "string" && systemErrors.includes(code)) return exitCodes.osErr;
  return exitCodes.software;
}
