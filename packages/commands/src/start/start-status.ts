/**
 * What `npm start` tells of itself to `postmq status`: its processes, in a file of the data directory.
 *
 * The file means nothing unless the directory's lock is held: one that was killed leaves it behind.
 */
import { readFileSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";

export type ProcessState = {
  /** A service's name, with the copy's number from the second on; or redis. */
  readonly name: string;
  /** undefined: it died, and is started again after a pause. */
  readonly pid: number | undefined;
  readonly isReady: boolean;
};

function statusFile(dataDirectory: string): string {
  return join(dataDirectory, "start.status");
}

/** Written beside it and renamed: who reads it meanwhile finds the one or the other. */
export function writeStartStatus(dataDirectory: string, processes: readonly ProcessState[]): void {
  const file = statusFile(dataDirectory);
  const lines = processes.map(
    ({ name, pid, isReady }) => `${name} ${pid ?? "-"} ${isReady ? "ready" : "-"}\n`,
  );
  writeFileSync(`${file}.new`, lines.join(""));
  renameSync(`${file}.new`, file);
}

/** Empty when it has not said anything yet. */
export function readStartStatus(dataDirectory: string): readonly ProcessState[] {
  return readLines(statusFile(dataDirectory)).flatMap((line) => {
    const [, name, pid, ready] = /^([\w/-]+) (\d+|-) (ready|-)$/.exec(line) ?? [];
    if (name === undefined) return [];
    return [{ name, pid: pid === "-" ? undefined : Number(pid), isReady: ready === "ready" }];
  });
}

function readLines(file: string): readonly string[] {
  try {
    return readFileSync(file, "utf8").split("\n");
  } catch {
    // It has just begun.
    return [];
  }
}
