/**
 * How much of the machine's processor time a system could have used, on a machine that it shares with others: what it
 * used itself, and what nobody used. A rate by this measure falls when the system does more work for each message and
 * when it waits for something, but not when others are busy. Linux only.
 *
 * Source: proc(5) /proc/stat, /proc/pid/stat.
 */
import { readFile } from "node:fs/promises";

/** Of /proc: a hundredth of a second, whatever the kernel's own. */
const msPerTick = 10;

async function idleMs(): Promise<number> {
  const [line = ""] = (await readFile("/proc/stat", "utf8")).split("\n");
  const [, , , , idle = 0, waiting = 0] = line.split(/\s+/).map(Number);
  return (idle + waiting) * msPerTick;
}

async function usedMs(pid: number): Promise<number> {
  const text = await readFile(`/proc/${pid}/stat`, "utf8");
  // The name in parentheses may hold spaces; utime and stime are the 12th and 13th fields behind it.
  const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
  return (Number(fields[11]) + Number(fields[12])) * msPerTick;
}

/** A clock that goes only while these processes could have run; differences count. All of them must be alive. */
export async function availableMs(pids: readonly number[]): Promise<number> {
  const used = await Promise.all(pids.map(usedMs));
  return used.reduce((sum, ms) => sum + ms, await idleMs());
}
