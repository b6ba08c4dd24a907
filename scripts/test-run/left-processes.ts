/**
 * Finds and ends processes that tests left behind: those of the run's session, and those (a Redis has a session of
 * its own) that name the run's temporary directory in their command line or work in it.
 *
 * Linux only, by /proc; elsewhere it finds nothing.
 */
import { existsSync, readdirSync, readFileSync, readlinkSync } from "node:fs";
import { setTimeout as pause } from "node:timers/promises";

export type LeftProcess = { readonly pid: number; readonly command: string };
export type Run = { readonly session: number; readonly directory: string };

/** Some that end together with the last test may still be on their way out. */
const patienceMs = 3_000;

/** @returns those that would not have ended by themselves; they are killed. */
export async function endLeftProcesses(run: Run): Promise<readonly LeftProcess[]> {
  const triesEveryMs = 100;
  let left = leftProcesses(run);
  for (let waitedMs = 0; left.length > 0 && waitedMs < patienceMs; waitedMs += triesEveryMs) {
    await pause(triesEveryMs);
    left = leftProcesses(run);
  }
  for (const { pid } of left) killIfThere(pid);
  return left;
}

export function leftProcesses(run: Run): readonly LeftProcess[] {
  if (!existsSync("/proc/self/stat")) return [];
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name) && Number(name) !== process.pid)
    .flatMap((name) => readProcess(Number(name), run) ?? []);
}

function readProcess(pid: number, run: Run): LeftProcess | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "latin1");
    // After the name, which may hold anything but is the last thing in parentheses: state ppid pgrp session.
    const [state, , , session] = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    if (state === "Z") return undefined;
    const command = readFileSync(`/proc/${pid}/cmdline`, "utf8").replaceAll("\0", " ").trim();
    const isOurs =
      Number(session) === run.session ||
      command.includes(run.directory) ||
      readlinkSync(`/proc/${pid}/cwd`).startsWith(run.directory);
    return isOurs ? { pid, command } : undefined;
  } catch {
    // It ended while we looked, or is another user's.
    return undefined;
  }
}

function killIfThere(pid: number): void {
  try {
    process.kill(pid, "SIGKILL");
  } catch {
    // It ended meanwhile.
  }
}
