/**
 * What processes cost, read from /proc: CPU time and memory of whole process trees.
 *
 * CPU is user and system time, that of children which ended and were waited for included. Memory is PSS: a page that
 * is shared by n processes counts 1/n for each, so that the sum over all processes is what the machine gives up.
 */
import { readdirSync, readFileSync } from "node:fs";

const ticksPerSecond = 100;

/** Field numbers of proc(5) /proc/[pid]/stat, less the two before the state. */
const field = {
  parent: 1,
  userTicks: 11,
  systemTicks: 12,
  childUserTicks: 13,
  childSystemTicks: 14,
};

/** CPU seconds that the trees under these processes have used so far. */
export function treeCpuSeconds(roots: readonly number[]): number {
  return tree(roots)
    .map((pid) => {
      const stat = readStat(pid);
      return sum([
        stat[field.userTicks] ?? 0,
        stat[field.systemTicks] ?? 0,
        stat[field.childUserTicks] ?? 0,
        stat[field.childSystemTicks] ?? 0,
      ]);
    })
    .reduce((total, ticks) => total + ticks / ticksPerSecond, 0);
}

/** CPU seconds of children of this process that have ended. */
export function endedChildrenCpuSeconds(): number {
  const stat = readStat(process.pid);
  return ((stat[field.childUserTicks] ?? 0) + (stat[field.childSystemTicks] ?? 0)) / ticksPerSecond;
}

/** PSS in MB of the trees under these processes. */
export function treePssMb(roots: readonly number[]): number {
  return sum(tree(roots).map(pssKb)) / 1024;
}

/** Adding up the pages of eight processes takes some 50 ms of CPU, which the load is not to notice. */
const lookIntervalMs = 3000;

/** Looks at the memory of process trees every few seconds, and at the end. */
export class PeakMemory implements Disposable {
  readonly #roots: readonly number[];
  readonly #timer: NodeJS.Timeout;
  #peakMb = 0;

  constructor(roots: readonly number[]) {
    this.#roots = roots;
    this.#timer = setInterval(() => {
      this.#look();
    }, lookIntervalMs);
  }

  /** Looks once more. */
  end(): number {
    this.#look();
    return this.#peakMb;
  }

  #look(): void {
    this.#peakMb = Math.max(this.#peakMb, treePssMb(this.#roots));
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer);
  }
}

function tree(roots: readonly number[]): readonly number[] {
  const children = Map.groupBy(
    readdirSync("/proc").flatMap((name) => (/^\d+$/.test(name) ? [Number(name)] : [])),
    (pid) => readStat(pid)[field.parent] ?? 0,
  );
  const found: number[] = [];
  for (let todo = [...roots]; todo.length > 0;) {
    found.push(...todo);
    todo = todo.flatMap((pid) => children.get(pid) ?? []);
  }
  return found;
}

/** Empty for a process that has ended meanwhile. */
function readStat(pid: number): readonly number[] {
  const text = readProc(pid, "stat");
  return text
    .slice(text.lastIndexOf(")") + 2)
    .split(" ")
    .map(Number);
}

function pssKb(pid: number): number {
  return Number(/^Pss:\s+(\d+)/m.exec(readProc(pid, "smaps_rollup"))?.[1] ?? 0);
}

function readProc(pid: number, name: string): string {
  try {
    return readFileSync(`/proc/${pid}/${name}`, "latin1");
  } catch {
    // It ended between two looks, and then it uses nothing more.
    return "";
  }
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, number) => total + number, 0);
}
