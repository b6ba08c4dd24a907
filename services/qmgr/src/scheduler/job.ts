/**
 * A message on one transport, with what it has earned and paid of delivery slots.
 *
 * Each request sent earns the job one; `slot_cost` of them make a slot, which another job's request may use. A job
 * that overtakes is paid for in advance by the one it overtakes, and gives back at its end what it did not use.
 *
 * Source: spec S19, S21; Postfix src/qmgr/qmgr_job.c; SCHEDULER_README "preemptive scheduler".
 */
import type { ActiveMessage } from "../message.ts";
import type { JobKey } from "./order.ts";
import type { Peer } from "./peer.ts";

export class Job {
  readonly message: ActiveMessage;
  key: JobKey;
  readonly peers = new Map<string, Peer>();
  /** Requests made so far, and those of them that were sent (or given up). */
  read = 0;
  selected = 0;
  /** Requests sent that no overtaking has been paid with; below 0 after a loan. */
  earned = 0;
  /** Of an overtaking job: requests sent less those expected. */
  overuse = 0;
  /** The job that this one has overtaken, and those that have overtaken this one. */
  parent: Job | undefined;
  #children: Set<Job> | undefined;
  /** How many have overtaken it so far: the last number of the next one's key. */
  overtakings = 0;

  constructor(message: ActiveMessage, key: JobKey) {
    this.message = message;
    this.key = key;
  }

  /** Requests that wait. */
  get waiting(): number {
    return this.read - this.selected;
  }

  /** Nothing of it waits, or is still to be read. */
  get isSent(): boolean {
    return this.waiting === 0 && unreadRecipients(this.message) === 0;
  }

  /** Requests that it has had or will have, if each unread recipient becomes one. */
  get mostRequests(): number {
    return this.read + unreadRecipients(this.message);
  }

  /** None of its destinations has a place free (S20). */
  get isBlocker(): boolean {
    for (const peer of this.peers.values()) {
      if (peer.waiting > 0 && !peer.isParked && peer.site.mayStart) return false;
    }
    return true;
  }

  /** Others have overtaken it, and are not done. */
  get isOvertaken(): boolean {
    return this.#children !== undefined && this.#children.size > 0;
  }

  #adopt(child: Job): void {
    this.#children ??= new Set();
    this.#children.add(child);
  }

  /** A request of it was sent. */
  countSlot(): void {
    this.selected += 1;
    this.earned += 1;
    this.overuse += 1;
  }

  /** This job goes before `overtaken`, which pays for all that this one may send. */
  overtake(overtaken: Job, slotCost: number): void {
    this.leaveStack(slotCost);
    const expected = this.mostRequests - this.selected;
    overtaken.overtakings += 1;
    this.key = [...overtaken.key, overtaken.overtakings];
    this.parent = overtaken;
    overtaken.#adopt(this);
    overtaken.earned -= expected * slotCost;
    this.overuse = -expected;
  }

  /** It is done, or overtakes another: what it did not use goes back, and its own overtakers move up. */
  leaveStack(slotCost: number): void {
    const { parent } = this;
    if (parent !== undefined) {
      parent.earned -= this.overuse * slotCost;
      parent.#children?.delete(this);
    }
    for (const child of this.#children ?? []) {
      child.parent = parent;
      if (parent !== undefined) parent.#adopt(child);
    }
    this.#children = undefined;
    this.parent = undefined;
  }
}

export function unreadRecipients(message: ActiveMessage): number {
  return Math.max(0, message.totalRecipients - message.nextRecipient);
}
