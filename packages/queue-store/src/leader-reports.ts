/**
 * What the leader publishes of itself and of destinations, as JSON: pure, both ways.
 *
 * Another version of this product, or anybody with a Redis client, may have written what is read here: each field is
 * looked at, and what is not whole is no report.
 *
 * Source: DESIGN §4; http-api.md §2 "/v1/destinations".
 */
import { parseEnhancedStatus } from "@postmq/vocabulary";
import type { Destination, EnhancedStatus } from "@postmq/vocabulary";
import type { DestinationReport, SchedulerReport } from "./contract.ts";

type Fields = Readonly<Record<string, unknown>>;

/** What was expected is not there; never leaves this module. */
class NoReportError extends Error {}

function fieldsOf(value: unknown): Fields {
  if (typeof value !== "object" || value === null) throw new NoReportError("no object");
  return value as Fields;
}

function number(fields: Fields, name: string): number {
  const value = fields[name];
  if (typeof value !== "number") throw new NoReportError(name);
  return value;
}

function numberOrNull(fields: Fields, name: string): number | null {
  return fields[name] === null ? null : number(fields, name);
}

function text(fields: Fields, name: string): string {
  const value = fields[name];
  if (typeof value !== "string") throw new NoReportError(name);
  return value;
}

function statusAndReason(fields: Fields): { status: EnhancedStatus; reason: string } {
  const status = parseEnhancedStatus(text(fields, "status"));
  if (status === undefined) throw new NoReportError("status");
  return { status, reason: text(fields, "reason") };
}

function destination(value: unknown): Destination {
  const fields = fieldsOf(value);
  return { transport: text(fields, "transport"), nexthop: text(fields, "nexthop") };
}

function dead(value: unknown): NonNullable<DestinationReport["dead"]> {
  const fields = fieldsOf(value);
  const [sinceMs, untilMs] = [number(fields, "sinceMs"), number(fields, "untilMs")];
  return { sinceMs, untilMs, ...statusAndReason(fields) };
}

function lastTrouble(value: unknown): NonNullable<DestinationReport["lastTrouble"]> {
  const fields = fieldsOf(value);
  return { atMs: number(fields, "atMs"), ...statusAndReason(fields) };
}

function throttled(value: unknown): SchedulerReport["throttled"][number] {
  const fields = fieldsOf(value);
  const untilMs = number(fields, "untilMs");
  return { transport: text(fields, "transport"), untilMs, ...statusAndReason(fields) };
}

function destinationReport(fields: Fields): DestinationReport {
  return {
    name: text(fields, "name"),
    destination: destination(fields["destination"]),
    window: numberOrNull(fields, "window"),
    limit: numberOrNull(fields, "limit"),
    inFlight: number(fields, "inFlight"),
    waiting: number(fields, "waiting"),
    surplus: number(fields, "surplus"),
    success: number(fields, "success"),
    failure: number(fields, "failure"),
    failedCohorts: number(fields, "failedCohorts"),
    ...(fields["dead"] === undefined ? {} : { dead: dead(fields["dead"]) }),
    ...(fields["pausedUntilMs"] === undefined
      ? {}
      : { pausedUntilMs: number(fields, "pausedUntilMs") }),
    ...(fields["lastTrouble"] === undefined
      ? {}
      : { lastTrouble: lastTrouble(fields["lastTrouble"]) }),
    endedPerMinute: number(fields, "endedPerMinute"),
    updatedMs: number(fields, "updatedMs"),
  };
}

function schedulerReport(fields: Fields): SchedulerReport {
  const list = fields["throttled"];
  if (!Array.isArray(list)) throw new NoReportError("throttled");
  return {
    fence: text(fields, "fence"),
    leadsSinceMs: number(fields, "leadsSinceMs"),
    activeMessages: number(fields, "activeMessages"),
    activeLimit: number(fields, "activeLimit"),
    recipientsInMemory: number(fields, "recipientsInMemory"),
    recipientLimit: number(fields, "recipientLimit"),
    capacity: number(fields, "capacity"),
    liveWorkers: number(fields, "liveWorkers"),
    jobsOut: number(fields, "jobsOut"),
    waiting: number(fields, "waiting"),
    throttled: list.map(throttled),
    updatedMs: number(fields, "updatedMs"),
  };
}

function parse<Report>(json: string, read: (fields: Fields) => Report): Report | undefined {
  try {
    return read(fieldsOf(JSON.parse(json)));
  } catch (error) {
    // Rubbish is skipped: those who look on see less, and the leader publishes again.
    if (error instanceof NoReportError || error instanceof SyntaxError) return undefined;
    throw error;
  }
}

/** @returns undefined when it is no whole report. */
export function parseDestinationReport(json: string): DestinationReport | undefined {
  return parse(json, destinationReport);
}

/** @returns undefined when it is no whole report. */
export function parseSchedulerReport(json: string): SchedulerReport | undefined {
  return parse(json, schedulerReport);
}

/**
 * The reports in what HSCAN gave: name, JSON, name, JSON … Rubbish is left out, and so is the field of no name, in
 * which the writer left its fence.
 */
export function readScanned(flat: readonly string[]): readonly DestinationReport[] {
  return flat
    .filter((_, i) => i % 2 === 1)
    .map(parseDestinationReport)
    .filter((report) => report !== undefined);
}
