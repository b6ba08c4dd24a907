/**
 * The reports about one message, from the bell to the queue: open what is owed, see who is to be told, queue the notices
 * and mark it no longer owed.
 *
 * The last two are one act of the store, so a bounce process that dies anywhere before it leaves the report owed, and
 * one that dies after it leaves nothing to do; the copies to the postmaster are queued with the report or not at all.
 * With VERP there is a report for each recipient, and so many that they may need several such acts: each of those marks
 * the recipients that it tells of, and whoever comes after it tells of the others.
 *
 * Departs: Postfix queues a copy after the report, and only warns when it can't be queued.
 *
 * Source: spec D28 to D34, S13, Q6; queues.md §3.7 a.
 */
import type { OpenedReport, ReportKind } from "@postmq/queue-store";
import { logMessageId, logNotification } from "@postmq/observability";
import { isPostmqError } from "@postmq/vocabulary";
import type { QueueId } from "@postmq/vocabulary";
import { prepareNotice, returningOf } from "./prepare-notice.ts";
import type { PreparedNotice, ReportParts } from "./prepare-notice.ts";
import { owedNotices } from "./who-is-told.ts";
import type { Notice } from "./who-is-told.ts";

/** queued; dropped: nobody wants one; left: somebody else has it, or it is gone; postponed: trouble, tried again. */
export type ReportEnd = "queued" | "dropped" | "left" | "postponed";

/** Reports about one message, if it is owed. Store failures end as `postponed`; anything else thrown is a bug. */
export async function reportMessage(id: QueueId, parts: ReportParts): Promise<ReportEnd> {
  let opened: OpenedReport | undefined;
  try {
    const answer = await parts.reporting.open(id);
    if (typeof answer === "string") return "left";
    opened = answer;
    return await report(opened, parts);
  } catch (error) {
    if (!isPostmqError(error)) throw error;
    parts.log.warning(`the report is put off: ${error.message}`, id);
    if (opened !== undefined) await giveBack(opened, parts);
    return "postponed";
  }
}

/** Notices that are made ready and queued together: each holds an original of at most bounce_size_limit in memory. */
const noticesPerAct = 100;

const notificationWords = {
  failure: "non-delivery",
  expired: "non-delivery",
  delay: "delay",
  success: "delivery status",
} as const satisfies Record<ReportKind, string>;

async function report(opened: OpenedReport, parts: ReportParts): Promise<ReportEnd> {
  const { reporting, log, settings } = parts;
  const { notices, whyNobody } = owedNotices(opened, settings);
  const returning = returningOf(opened, parts);
  const acts = inActs(notices);
  let left = opened;
  for (const [index, act] of acts.entries()) {
    const prepared: PreparedNotice[] = [];
    for (const notice of act) prepared.push(await prepareNotice(notice, opened, returning, parts));
    const messages = prepared.map(({ message }) => message);
    const answer =
      index === acts.length - 1
        ? await reporting.queue(left, messages)
        : await reporting.queuePart(left, toldOf(act), messages);
    if (answer === "stale") return "left";
    if (answer !== "queued") left = answer;
    for (const each of prepared) logQueued(each, opened, log);
  }
  if (whyNobody === undefined) return "queued";
  if (whyNobody.isLoud) log.warning(whyNobody.text, opened.id);
  else log.info(`no ${notificationWords[opened.kind]} notification: ${whyNobody.text}`, opened.id);
  return "dropped";
}

/** At least one, even of nothing; what tells of the same recipients stays together. */
function inActs(notices: readonly Notice[]): readonly (readonly Notice[])[] {
  const acts: Notice[][] = [[]];
  for (const notice of notices) {
    const act = acts.at(-1);
    const isFull = (act?.length ?? 0) >= noticesPerAct;
    const isOfSame = act?.at(-1)?.about[0]?.number === notice.about[0]?.number;
    if (act === undefined || (isFull && !isOfSame)) acts.push([notice]);
    else act.push(notice);
  }
  return acts;
}

function toldOf(act: readonly Notice[]): readonly number[] {
  return [...new Set(act.flatMap(({ about }) => about.map(({ number }) => number)))];
}

function logQueued(
  { notice, message, messageId }: PreparedNotice,
  { id, kind }: OpenedReport,
  log: ReportParts["log"],
): void {
  logMessageId(log, message.id, messageId);
  const words = notificationWords[kind];
  logNotification(log, { id, to: notice.to, kind: words, reportId: message.id });
}

/** The claim may fall by itself too, with this process's heartbeat. */
async function giveBack(opened: OpenedReport, parts: ReportParts): Promise<void> {
  try {
    await parts.reporting.giveBack(opened);
  } catch (error) {
    if (!isPostmqError(error)) throw error;
    parts.log.warning(
      `the claim on the report could not be given back: ${error.message}`,
      opened.id,
    );
  }
}
