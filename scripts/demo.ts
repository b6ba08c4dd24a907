/**
 * `npm run demo`: postmq with a small world around it, so that one sees a queue fill, defer, bounce and drain.
 *
 * Some thousand messages go in by SMTP and HTTP, to some thirty domains with very different mail hosts. The queue is
 * shown with qshape as it drains. `-- --once` ends when every recipient is delivered or its sender has a report, with
 * a summary and exit 0; without it everything goes on running for a look around.
 *
 * Source: DESIGN §7.
 */
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { parseArgs } from "node:util";
import { Ledger, ledgerReader } from "@postmq/testing";
import { DemoSystem, demoParameters } from "./demo/demo-system.ts";
import { openOutsideWorld, senderDomain, type Tally } from "./demo/outside-world.ts";
import { sendAll } from "./demo/senders.ts";

const messages = 3_000;
const sendingMs = 12_000;
const progressMs = 2_000;
const qshapeEvery = 3;
/** Two of them are the head and the total. */
const qshapeLines = 9;
/** All is over in less than a minute on a small machine; after this something is wrong. */
const patienceMs = 180_000;
/** As a shell says it of a program that Ctrl-C ended. */
const exitOfInterrupted = 130;

const { values: options } = parseArgs({ options: { once: { type: "boolean", default: false } } });

async function demo(): Promise<number> {
  const ending = new AbortController();
  const end = (): void => ending.abort();
  process.once("SIGINT", end).once("SIGTERM", end);
  const directory = mkdtempSync(join(tmpdir(), "postmq-demo-"));
  let status = 1;
  try {
    status = await runDemo(directory, ending.signal);
  } catch (error) {
    say(`demo: ${error instanceof Error ? error.message : String(error)}`);
  } finally {
    end();
    // What went wrong stays to be looked at.
    if (status === 0) rmSync(directory, { recursive: true, force: true });
  }
  return status;
}

async function runDemo(directory: string, signal: AbortSignal): Promise<number> {
  await using stack = new AsyncDisposableStack();
  const { hosts, tally } = await openOutsideWorld(stack);
  say(`${hosts.length - 1} mail hosts to deliver to; starting postmq in ${directory}`);
  const system = stack.use(await DemoSystem.start(directory, hosts));
  introduce(system);

  const ledger = new Ledger();
  const readers = hosts.map(({ server }) => ledgerReader(ledger, server));
  const watched = {
    system,
    ledger,
    tally,
    refresh: () => readers.forEach((read) => read()),
    signal,
  };
  const sending = sendAll({
    ledger,
    domains: hosts.map(({ domain }) => domain).filter((domain) => domain !== senderDomain),
    messages,
    smtpPort: Number(system.address("smtpd").split(":").at(-1)),
    submissionUrl: `http://${system.address("pickup")}`,
    durationMs: sendingMs,
  }).then(({ smtp, http }) => say(`all handed in: ${smtp} messages by SMTP, ${http} by HTTP`));
  const settling = Promise.all([sending, showProgress(watched)]);
  const [, isSettled = false] =
    (await Promise.race([settling, unexpectedEnd(system), stopped(signal)])) ?? [];
  if (signal.aborted) return exitOfInterrupted;
  return await conclude({ ...watched, isSettled });
}

function introduce(system: DemoSystem): void {
  for (const [name, value] of Object.entries(demoParameters)) say(`  ${name} = ${value}`);
  say(`SMTP ${system.address("smtpd")}, HTTP http://${system.address("pickup")}/v1/messages`);
  say(`metrics: ${system.metricsUrls.join(" ")}`);
  say(`log: ${system.logFile}`);
}

type Watched = {
  readonly system: DemoSystem;
  readonly ledger: Ledger;
  readonly tally: Tally;
  readonly refresh: () => void;
  readonly signal: AbortSignal;
};

/** Prints how far it is until all is settled. @returns false when that took too long. */
async function showProgress(watched: Watched): Promise<boolean> {
  const { ledger, tally, refresh, signal, system } = watched;
  const startedMs = Date.now();
  for (let round = 1; Date.now() - startedMs < patienceMs; round++) {
    await pause(progressMs, undefined, { signal }).catch(() => undefined);
    if (signal.aborted) return false;
    refresh();
    const { accepted, delivered, bounced, lost } = ledger.report();
    const seconds = Math.round((Date.now() - startedMs) / 1_000);
    say(
      `${String(seconds).padStart(3)} s  recipients: ${accepted} taken in, ${delivered} delivered, ` +
        `${bounced} bounced, ${lost.length} to go; put off ${tally.putOff} times`,
    );
    if (accepted > 0 && lost.length === 0 && seconds * 1_000 > sendingMs) return true;
    if (round % qshapeEvery === 0) await showQshape(system);
  }
  return false;
}

async function showQshape(system: DemoSystem): Promise<void> {
  const table = await system.command("qshape", "incoming", "active", "deferred");
  const lines = table.trimEnd().split("\n");
  for (const line of lines.slice(0, qshapeLines)) say(`       ${line}`);
  if (lines.length > qshapeLines) say(`       … and ${lines.length - qshapeLines} more domains`);
}

async function conclude(ended: Watched & { readonly isSettled: boolean }): Promise<number> {
  const { system, ledger, tally, isSettled, signal } = ended;
  const { accepted, delivered, bounced, lost, duplicates, contradictions } = ledger.report();
  say("");
  say(`recipients taken in        ${accepted}`);
  say(`delivered                  ${delivered}`);
  say(`bounced, sender has report ${bounced}`);
  say(`put off by a mail host     ${tally.putOff} times, then tried again`);
  say(`delivered more than once   ${duplicates.size}`);
  say(`lost                       ${lost.length}`);
  say(`mailq: ${(await system.command("mailq")).trim().split("\n").at(-1)}`);
  const isGood = isSettled && lost.length === 0 && duplicates.size + contradictions.length === 0;
  if (!isGood) say(`not every recipient has its one outcome: see ${system.logFile}`);
  if (!options.once && isGood) {
    say("\nstill running; send it more, look at the metrics, end it with Ctrl-C");
    await Promise.race([stopped(signal), unexpectedEnd(system)]);
  }
  return isGood ? 0 : 1;
}

async function stopped(signal: AbortSignal): Promise<undefined> {
  if (!signal.aborted) await once(signal, "abort");
}

async function unexpectedEnd(system: DemoSystem): Promise<never> {
  await system.untilExit();
  throw new Error(`postmq ended by itself: see ${system.logFile}`);
}

function say(line: string): void {
  console.log(line);
}

process.exitCode = await demo();
