/**
 * Outcomes that Redis did not take before the process had to end, kept in files for the next start.
 *
 * A 250 that was read is known to nobody else (P5), so what can't be written to Redis goes to
 * `data_directory/outcomes/<worker>.json`, synced to disk, and to the log. At start such files are read, written to
 * Redis, then unlinked; outcomes are facts, so writing one twice does no harm, nor do two workers that read one file.
 * A file that can't be read is left where it is and told of.
 *
 * Source: DESIGN §3 "On exit a worker that can't write them".
 */
import { mkdir, open, readdir, readFile, rename, rm } from "node:fs/promises";
import { join } from "node:path";

import type { Delivering, RequestResult } from "@postmq/queue-store";
import {
  outcomeKinds,
  parseEnhancedStatus,
  parseQueueId,
  requestEnds,
  successActions,
} from "@postmq/vocabulary";
import type {
  RecipientOutcome,
  RemoteReply,
  RequestName,
  SiteFeedback,
  SuccessAction,
} from "@postmq/vocabulary";

const formatVersion = 1;

/** Writes the file whole or not at all. @returns its path */
export async function writeHeldOutcomes(
  dataDirectory: string,
  worker: string,
  results: readonly RequestResult[],
): Promise<string> {
  const directory = join(dataDirectory, "outcomes");
  await mkdir(directory, { recursive: true, mode: 0o700 });
  const path = join(directory, `${worker.replaceAll(/[^A-Za-z0-9.-]/g, "-")}.json`);
  const temporary = `${path}.part`;
  const file = await open(temporary, "w", 0o600);
  try {
    await file.writeFile(JSON.stringify({ version: formatVersion, results }));
    await file.sync();
  } finally {
    await file.close();
  }
  await rename(temporary, path);
  const folder = await open(directory);
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
  return path;
}

/** Writes what earlier runs left behind to Redis. Resolves when that is done, however long Redis is away. */
export async function restoreHeldOutcomes(
  dataDirectory: string,
  delivering: Pick<Delivering, "restore">,
  onNotice: (level: "info" | "error", text: string) => void,
): Promise<void> {
  const directory = join(dataDirectory, "outcomes");
  for (const name of await heldFiles(directory)) {
    const path = join(directory, name);
    const results = await readHeldFile(path);
    if (typeof results === "string") {
      onNotice("error", `held outcomes in ${path} can't be read and are left there: ${results}`);
      continue;
    }
    if (results.length > 0) await delivering.restore(results);
    await rm(path, { force: true });
    onNotice("info", `recorded ${results.length} outcomes that an earlier run had left in ${path}`);
  }
}

async function heldFiles(directory: string): Promise<readonly string[]> {
  try {
    return (await readdir(directory)).filter((name) => name.endsWith(".json")).toSorted();
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return [];
    throw error;
  }
}

/** @returns the results, or what is wrong; none when another worker was faster. */
async function readHeldFile(path: string): Promise<readonly RequestResult[] | string> {
  try {
    return parseHeldOutcomes(await readFile(path, "utf8"));
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return [];
    return error instanceof Error ? error.message : String(error);
  }
}

/** @throws SyntaxError naming what is wrong */
export function parseHeldOutcomes(text: string): readonly RequestResult[] {
  const file = asObject(JSON.parse(text), "file");
  if (file["version"] !== formatVersion) throw new SyntaxError("unknown version");
  return asList(file["results"], "results").map(asResult);
}

type Fields = Readonly<Record<string, unknown>>;

function asResult(value: unknown): RequestResult {
  const fields = asObject(value, "result");
  const end = requestEnds.find((known) => known === fields["end"]) ?? wrong("end");
  return {
    name: asName(fields["name"]),
    end,
    outcomes: asList(fields["outcomes"], "outcomes").map(asOutcome),
    feedback: asFeedback(fields["feedback"]),
    ...(fields["reason"] === undefined ? {} : { reason: asText(fields["reason"], "reason") }),
  };
}

function asName(value: unknown): RequestName {
  const fields = asObject(value, "name");
  return {
    id: parseQueueId(asText(fields["id"], "id")) ?? wrong("id"),
    number: asCount(fields["number"], "number"),
    generation: asCount(fields["generation"], "generation"),
  };
}

function asOutcome(value: unknown): RecipientOutcome {
  const fields = asObject(value, "outcome");
  return {
    recipient: asCount(fields["recipient"], "recipient"),
    kind: outcomeKinds.find((known) => known === fields["kind"]) ?? wrong("kind"),
    status: parseEnhancedStatus(asText(fields["status"], "status")) ?? wrong("status"),
    reason: asText(fields["reason"], "reason"),
    ...(fields["remote"] === undefined ? {} : { remote: asRemote(fields["remote"]) }),
    ...(fields["owesReport"] === undefined ? {} : { owesReport: asAction(fields["owesReport"]) }),
  };
}

function asAction(value: unknown): SuccessAction {
  return successActions.find((known) => known === value) ?? wrong("owesReport");
}

function asRemote(value: unknown): RemoteReply {
  const fields = asObject(value, "remote");
  return {
    host: asText(fields["host"], "host"),
    address: asText(fields["address"], "address"),
    port: asCount(fields["port"], "port"),
    ...(fields["reply"] === undefined ? {} : { reply: asText(fields["reply"], "reply") }),
  };
}

function asFeedback(value: unknown): SiteFeedback {
  const fields = asObject(value, "feedback");
  const { kind } = fields;
  if (kind === "good" || kind === "none") return { kind };
  if (kind !== "trouble") return wrong("feedback");
  return {
    kind,
    status: parseEnhancedStatus(asText(fields["status"], "status")) ?? wrong("status"),
    reason: asText(fields["reason"], "reason"),
  };
}

function asObject(value: unknown, what: string): Fields {
  return typeof value === "object" && value !== null ? (value as Fields) : wrong(what);
}

function asList(value: unknown, what: string): readonly unknown[] {
  return Array.isArray(value) ? value : wrong(what);
}

function asText(value: unknown, what: string): string {
  return typeof value === "string" ? value : wrong(what);
}

function asCount(value: unknown, what: string): number {
  return typeof value === "number" && Number.isSafeInteger(value) && value >= 0
    ? value
    : wrong(what);
}

function wrong(what: string): never {
  throw new SyntaxError(`"${what}" is missing or wrong`);
}
