/**
 * One job's requests for one destination, first in first out.
 *
 * Source: spec S19 "peer"; Postfix src/qmgr/qmgr_peer.c.
 */
import type { ActiveMessage } from "../message.ts";
import type { Entry } from "./entry.ts";
import type { JobKey } from "./order.ts";

export class Peer {
  readonly message: ActiveMessage;
  readonly queueName: string;
  readonly job: { readonly key: JobKey };
  readonly site: { readonly mayStart: boolean };
  /** Grows each time that it is served: the peers of a job take turns, a new one after the others (S19). */
  turn = 0;
  /** The key under which its destination lists it; undefined: not listed. */
  listedAs: JobKey | undefined;
  /** It waits until its message may be tried alone (DESIGN §3). */
  isParked = false;
  /** Requests that are not over: waiting, or out. */
  open = 0;
  #entries: Entry[] = [];
  #head = 0;

  constructor(parts: Pick<Peer, "message" | "queueName" | "job" | "site">) {
    this.message = parts.message;
    this.queueName = parts.queueName;
    this.job = parts.job;
    this.site = parts.site;
  }

  get waiting(): number {
    return this.#entries.length - this.#head;
  }

  push(entry: Entry): void {
    entry.isQueued = true;
    this.#entries.push(entry);
  }

  /** The next one, which is no longer waiting then. */
  shift(): Entry | undefined {
    const entry = this.#entries[this.#head];
    if (entry === undefined) return undefined;
    this.#head += 1;
    entry.isQueued = false;
    if (this.#head > 32 && this.#head * 2 > this.#entries.length) {
      this.#entries = this.#entries.slice(this.#head);
      this.#head = 0;
    }
    return entry;
  }

  /** All that wait; none does then. */
  drain(): readonly Entry[] {
    const entries = this.#entries.slice(this.#head);
    this.#entries = [];
    this.#head = 0;
    for (const entry of entries) entry.isQueued = false;
    return entries;
  }
}

/** By the order of their jobs, and in turns within a job. */
export type ListedPeer = { readonly key: JobKey; readonly peer: Peer };
