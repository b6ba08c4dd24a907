/**
 * The queues a message can be in, and every legal move between them.
 *
 * The names are Postfix's; each is also the name of a BullMQ queue, whose jobs only ring for somebody to
 * look (DESIGN §3). `bounce` has jobs but no messages: a report is owed about a message that stays in active.
 *
 * Source: spec queues.md §1, DESIGN §2.
 */

/** Queues that hold messages: each stored message is in exactly one of them (Q9). */
export const messageQueues = [
  "maildrop",
  "incoming",
  "active",
  "deferred",
  "hold",
  "corrupt",
] as const;
export type MessageQueue = (typeof messageQueues)[number];

/** All BullMQ queues: the message queues and `bounce`, in which reports that are owed are rung. */
export const bellQueues = [...messageQueues, "bounce"] as const;
export type BellQueue = (typeof bellQueues)[number];

/** Postfix's order of queues in listings. Source: postqueue(1) -p, spec admin-tools.md §1. */
export const listedQueues = [
  "maildrop",
  "active",
  "incoming",
  "deferred",
  "hold",
] as const satisfies readonly MessageQueue[];

export function isMessageQueue(text: string): text is MessageQueue {
  return messageQueues.some((name) => name === text);
}

/** One legal move: from where (`none`: the message is new; `gone` as target: removed), to where, and who may make it. */
export type QueueMove = {
  readonly from: MessageQueue | "none";
  readonly to: MessageQueue | "gone";
  /** The Lua script under `packages/queue-store/lua` that makes the move. */
  readonly script: string;
  /** Who runs it. */
  readonly by: readonly string[];
};

const restedIn = messageQueues.filter((queue) => queue !== "active");

/** Whole messages that come from a file or another instance, or leave for one (docs/ARCHITECTURE.md). */
const copied: readonly QueueMove[] = [
  ...restedIn.flatMap((to): readonly QueueMove[] => [
    { from: "none", to, script: "restore-messages", by: ["postmq import"] },
    { from: "none", to, script: "make-ready", by: ["postmq aside", "showq"] },
    { from: "none", to, script: "put-back", by: ["postmq aside", "postmq export", "showq"] },
  ]),
  ...messageQueues.map((from): QueueMove => ({
    from,
    to: "gone",
    script: "mark-moving",
    by: ["postmq aside", "postmq export"],
  })),
];

/** The table of legal moves. A test compares it with the scripts of queue-store. */
export const queueMoves: readonly QueueMove[] = [
  { from: "none", to: "maildrop", script: "commit-messages", by: ["pickup", "sendmail"] },
  { from: "none", to: "incoming", script: "commit-messages", by: ["smtpd"] },
  { from: "none", to: "hold", script: "commit-messages", by: ["smtpd"] },
  { from: "none", to: "incoming", script: "queue-report", by: ["bounce"] },
  { from: "maildrop", to: "incoming", script: "release-cleaned", by: ["cleanup"] },
  { from: "maildrop", to: "hold", script: "release-cleaned", by: ["cleanup"] },
  { from: "maildrop", to: "gone", script: "release-cleaned", by: ["cleanup"] },
  { from: "incoming", to: "active", script: "import-messages", by: ["qmgr"] },
  { from: "deferred", to: "active", script: "import-messages", by: ["qmgr"] },
  { from: "active", to: "incoming", script: "reopen-active", by: ["qmgr"] },
  { from: "deferred", to: "incoming", script: "flush-site", by: ["postqueue"] },
  { from: "deferred", to: "incoming", script: "flush-message", by: ["postqueue"] },
  { from: "active", to: "deferred", script: "settle-messages", by: ["qmgr"] },
  { from: "active", to: "gone", script: "settle-messages", by: ["qmgr"] },
  { from: "maildrop", to: "corrupt", script: "park-corrupt", by: ["cleanup"] },
  { from: "incoming", to: "corrupt", script: "import-messages", by: ["qmgr"] },
  { from: "deferred", to: "corrupt", script: "import-messages", by: ["qmgr"] },
  { from: "active", to: "corrupt", script: "park-corrupt", by: ["qmgr", "bounce"] },
  ...copied,
  // Of whole queues act-on-queue makes the same moves.
  { from: "incoming", to: "hold", script: "act-on-messages", by: ["postsuper", "showq"] },
  { from: "active", to: "hold", script: "act-on-messages", by: ["postsuper", "showq"] },
  { from: "deferred", to: "hold", script: "act-on-messages", by: ["postsuper", "showq"] },
  { from: "hold", to: "deferred", script: "act-on-messages", by: ["postsuper", "showq"] },
  { from: "hold", to: "maildrop", script: "act-on-messages", by: ["postsuper", "showq"] },
  { from: "incoming", to: "maildrop", script: "act-on-messages", by: ["postsuper", "showq"] },
  { from: "active", to: "maildrop", script: "act-on-messages", by: ["postsuper", "showq"] },
  { from: "deferred", to: "maildrop", script: "act-on-messages", by: ["postsuper", "showq"] },
  { from: "corrupt", to: "maildrop", script: "act-on-messages", by: ["postsuper", "showq"] },
  { from: "deferred", to: "incoming", script: "act-on-messages", by: ["postsuper", "showq"] },
  { from: "maildrop", to: "gone", script: "act-on-messages", by: ["postsuper", "showq"] },
  { from: "hold", to: "gone", script: "act-on-messages", by: ["postsuper", "showq"] },
  { from: "incoming", to: "gone", script: "act-on-messages", by: ["postsuper", "showq"] },
  { from: "active", to: "gone", script: "act-on-messages", by: ["postsuper", "showq"] },
  { from: "deferred", to: "gone", script: "act-on-messages", by: ["postsuper", "showq"] },
  { from: "corrupt", to: "gone", script: "act-on-messages", by: ["postsuper", "showq"] },
];
