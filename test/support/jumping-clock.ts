/**
 * A wall clock that a test sets forward and back under a running process, by libfaketime.
 *
 * The monotonic clock goes on undisturbed, as in a real step of the time of day. libfaketime reads how far the clock
 * is off from a file, at each look at the clock.
 *
 * Source: libfaketime's README, "FAKETIME_TIMESTAMP_FILE".
 */
import { existsSync } from "node:fs";
import { rm, writeFile } from "node:fs/promises";

const libraries = [
  "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1",
  "/usr/lib/aarch64-linux-gnu/faketime/libfaketime.so.1",
];

export class JumpingClock {
  readonly #library: string;
  readonly #file: string;

  /** @param file tells how far off the clock is; its directory exists. @throws when libfaketime is missing. */
  constructor(file: string) {
    const library = libraries.find((each) => existsSync(each));
    if (library === undefined) throw new Error("the system's package faketime is needed");
    this.#library = library;
    this.#file = file;
  }

  /** For the process whose clock it is. */
  get env(): Readonly<Record<string, string>> {
    return {
      LD_PRELOAD: this.#library,
      FAKETIME_TIMESTAMP_FILE: this.#file,
      FAKETIME_NO_CACHE: "1",
      FAKETIME_DONT_FAKE_MONOTONIC: "1",
      NO_FAKE_STAT: "1",
    };
  }

  /** Removes what libfaketime leaves behind of a process that was killed or ended by process.exit. */
  static async forget(pid: number): Promise<void> {
    for (const name of [`faketime_shm_${pid}`, `sem.faketime_sem_${pid}`]) {
      await rm(`/dev/shm/${name}`, { force: true });
    }
  }

  /** Sets the clock so far off the true time. */
  async setOff(seconds: number): Promise<void> {
    await writeFile(this.#file, `${seconds < 0 ? "" : "+"}${seconds}s\n`);
  }
}
