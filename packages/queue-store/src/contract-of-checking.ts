/**
 * The check of an instance: what it holds against what, and what it tells.
 *
 * Records are the truth (DESIGN §3): everything else is held against them. It works on a running system: each
 * comparison is one script, so that it sees one moment, and what it finds is looked at twice before it is told.
 *
 * Source: spec faults.md "Invariants to scan at any quiet moment"; P2, P12.
 */

/**
 * index: a message is missing in an index, or stands at a wrong place in it; stray: an entry that no record tells of;
 * names: a count of domains is wrong; sender: a message lacks the hash of its sender; due: none, or rubbish; report: owed,
 * but not to be found, or owed by a message that can't; content: missing, expiring, or nobody's; part: recipients or
 * counts of domains that are nobody's; request: delivery requests that are not stored or not open; counts: a record
 * counts its recipients wrongly; unreadable: a record, or what it needs, can't be read; reason: of corrupt, missing or
 * left over; rubbish: a key that is no index; move: to another instance, not finished; rings: a queue of BullMQ is paused.
 */
export const findingKinds = [
  "index",
  "stray",
  "names",
  "sender",
  "due",
  "report",
  "content",
  "part",
  "request",
  "counts",
  "unreadable",
  "reason",
  "rubbish",
  "move",
  "rings",
] as const;
export type FindingKind = (typeof findingKinds)[number];

export type Finding = {
  readonly kind: FindingKind;
  /** A queue id, a domain, or the name of a key without the instance's prefix. Somebody else may have chosen it. */
  readonly where: string;
  /** What is wrong with it. It may name what somebody else chose. */
  readonly text: string;
  /** found: nobody was asked to mend it; left: it could not be mended. */
  readonly outcome: "found" | "mended" | "left";
};

export type CheckCounts = {
  readonly messages: number;
  readonly contents: number;
  readonly indexes: number;
  /** Of cleanup, bounce and delivery, whose process has a heartbeat. */
  readonly liveClaims: number;
  /** Whose process has none: whoever leads takes them back. */
  readonly deadClaims: number;
};

/** How BullMQ's queue for rings stands. */
export type RingsReport = {
  readonly queue: string;
  readonly waiting: number;
  /** Since when the oldest ring waits, if one does. */
  readonly oldestMs?: number;
};

export interface Checking {
  /**
   * One walk over everything, in steps of some milliseconds each, in constant memory.
   *
   * @param options.isMending mends what it finds, by the same rules; anything else is only told
   * @param options.restingSeconds content that is nobody's is left alone for so long; default an hour
   * @param options.onCount told how many messages were looked at, now and then
   */
  check(options: {
    readonly isMending: boolean;
    readonly restingSeconds?: number;
    readonly onCount?: (messages: number) => void;
  }): AsyncGenerator<Finding, CheckCounts, void>;
  /** Rings that nobody has answered: they cost time, never mail. */
  rings(): Promise<readonly RingsReport[]>;
}
