/** The end of a run: every accepted recipient has its outcome, and nothing more is still to come. */
import assert from "node:assert/strict";

import { findBrokenInvariants, ledgerReader } from "@postmq/testing";
import type { FakeSmtpServer, Ledger, LedgerReport, PostmqSystem } from "@postmq/testing";

import { waitUntilDrained } from "./redis-probe.ts";

export type FinalAccount = LedgerReport & {
  /** What is wrong in Redis, empty when all is well. */
  readonly brokenInvariants: readonly string[];
};

/**
 * Waits until the ledger is settled and the queues are empty, since a delivery whose end was unknown is repeated later.
 *
 * @throws Error that names what is lost, with the latest log lines.
 */
export async function settleAccount(parts: {
  readonly ledger: Ledger;
  readonly sink: FakeSmtpServer;
  readonly system: PostmqSystem;
  /** For the outcomes, and again for the queues. Default: theirs. */
  readonly timeoutMs?: number;
  /** The sink's reader if the test has read from it before: a second one would enter everything twice. */
  readonly refresh?: () => void;
}): Promise<FinalAccount> {
  const { ledger, sink, system, timeoutMs } = parts;
  const refresh = parts.refresh ?? ledgerReader(ledger, sink);
  const within = timeoutMs === undefined ? {} : { timeoutMs };
  await ledger.settle({ ...within, refresh, describe: () => system.lastLines() });
  await waitUntilDrained(system.redis, timeoutMs);
  refresh();
  return { ...ledger.report(), brokenInvariants: await findBrokenInvariants(system.redis) };
}

/** Every answer that intake gave instead of acceptance is temporary. */
export function assertTemporary(refusals: readonly string[]): void {
  const lasting = refusals.filter((text) => /^5\d\d[ -]/.test(text) && !text.startsWith("503 {"));
  assert.deepEqual(lasting, [], "a lasting refusal while Redis was away");
}
