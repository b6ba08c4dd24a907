/**
 * The jobs of a transport with requests still to be sent, in the order in which candidates are looked for.
 *
 * That is the order of their messages' arrival in active. A job with requests for one destination only, which has no
 * place free, is set aside there when it is met, and the first of those comes back with each place that may be free. So
 * the thousands that wait for one slow destination hide nobody, and are looked at once.
 *
 * Source: spec S20, S21; Postfix src/qmgr/qmgr_job.c "blockers".
 */
import type { Job } from "./job.ts";
import { unreadRecipients } from "./job.ts";
import type { Peer } from "./peer.ts";

type Site = Peer["site"];

export class Candidates {
  readonly #inOrder = new Set<Job>();
  /** Those that came later than their order says: again, or back from where they were set aside. Few. */
  readonly #late = new Set<Job>();
  readonly #aside = new Map<Site, Set<Job>>();
  readonly #asideAt = new Map<Job, Site>();
  #newest = 0;

  add(job: Job): void {
    if (this.#inOrder.has(job)) return;
    this.#leaveAside(job);
    const { order } = job.message;
    if (order < this.#newest) this.#late.add(job);
    else this.#inOrder.add(job);
    this.#newest = Math.max(this.#newest, order);
  }

  delete(job: Job): void {
    this.#inOrder.delete(job);
    this.#late.delete(job);
    this.#leaveAside(job);
  }

  /** There may be a place free at this destination. */
  freed(site: Site): void {
    const [first] = this.#aside.get(site) ?? [];
    if (first === undefined) return;
    this.#leaveAside(first);
    this.#late.add(first);
  }

  /** Those that may have somewhere to go, the earliest first. */
  *[Symbol.iterator](): Generator<Job, void> {
    const late = [...this.#late].toSorted((a, b) => a.message.order - b.message.order);
    let at = 0;
    for (const job of this.#inOrder) {
      for (; (late[at]?.message.order ?? Infinity) < job.message.order; at += 1) {
        yield* this.#unlessAside(late[at]);
      }
      yield* this.#unlessAside(job);
    }
    for (; at < late.length; at += 1) yield* this.#unlessAside(late[at]);
  }

  *#unlessAside(job: Job | undefined): Generator<Job, void> {
    if (job !== undefined && !this.#setAside(job)) yield job;
  }

  #setAside(job: Job): boolean {
    const [peer] = job.peers.values();
    if (peer === undefined || job.peers.size > 1 || peer.site.mayStart) return false;
    if (unreadRecipients(job.message) > 0) return false;
    this.delete(job);
    this.#asideAt.set(job, peer.site);
    const there = this.#aside.get(peer.site);
    if (there === undefined) this.#aside.set(peer.site, new Set([job]));
    else there.add(job);
    return true;
  }

  #leaveAside(job: Job): void {
    const site = this.#asideAt.get(job);
    if (site === undefined) return;
    this.#asideAt.delete(job);
    const there = this.#aside.get(site);
    there?.delete(job);
    if (there?.size === 0) this.#aside.delete(site);
  }
}
