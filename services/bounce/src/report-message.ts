/**
 * The reports about one message, from the bell to the queue: open what is owed, see who is to be told, queue the notices
 * and mark it no longer owed.
 *
 * The last two are one act of the store, so a bounce process that dies anywhere before it leaves the report owed, and
 * one that dies after it leaves nothing to do; the copies to the postmaster are queued with the report or not at all.
 *
 * Departs: Postfix queues a copy after the report, and only warns when it can't be queued.
 *
 * Source: spec D28 to D34, S13, Q6; queues.md §3.7 a.
 */
import type { OpenedReport, ReportKind } from "@postmq/queue-store";
import { logMessageId, logNotification } from "@postmq/observability";
import { isPostmqError } from "@postmq/vocabulary";
import type { QueueId } from "@postmq/vocabulary";
import { prepareNotice } from "./prepare-notice.ts";
import type { PreparedNotice, ReportParts } from "./prepare-notice.ts";
import { owedNotices } from "./who-is-told.ts";

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

const notificationWords = {
  failure: "non-delivery",
  expired: "non-delivery",
  delay: "delay",
  success: "delivery status",
} as const satisfies Record<ReportKind, string>;

async function report(opened: OpenedReport, parts: ReportParts): Promise<ReportEnd> {
  const { reporting, log, settings } = parts;
  const { notices, whyNobody } = owedNotices(opened, settings);
  const prepared: PreparedNotice[] = [];
  for (const notice of notices) prepared.push(await prepareNotice(notice, opened, parts));
  const answer = await reporting.queue(
    opened,
    prepared.map(({ message }) => message),
  );
  if (answer === "stale") return "left";
  const kind = notificationWords[opened.kind];
  for (const { notice, message, messageId } of prepared) {
    logMessageId(log, message.id, messageId);
    logNotification(log, { id: opened.id, to: notice.to, kind, reportId: message.id });
  }
  if (whyNobody === undefined) return "queued";
  if (whyNobody.isLoud) log.warning(whyNobody.text, opened.id);
  else log.info(`no ${kind} notification: ${whyNobody.text}`, opened.id);
  return "dropped";
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
