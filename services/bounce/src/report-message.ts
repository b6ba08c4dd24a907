/**
 * One report, from the bell to the queue: open what is owed, compose, queue it and mark it no longer owed.
 *
 * The last two are one act of the store, so a bounce process that dies anywhere before it leaves the report owed, and
 * one that dies after it leaves nothing to do. Whoever is not to be told (the null sender, NOTIFY=NEVER) is decided
 * here and nowhere else.
 *
 * Source: spec D28 to D34, S13, Q6; queues.md §3.7 a.
 */
import type { FinishedContent, OpenedReport, Reporting } from "@postmq/queue-store";
import { logMessageId, logNotification } from "@postmq/observability";
import type { Log } from "@postmq/observability";
import { isPostmqError } from "@postmq/vocabulary";
import type { Clock, QueueId } from "@postmq/vocabulary";
import { composeReport } from "./compose-report.ts";
import type { ComposedReport } from "./compose-report.ts";
import { headersOf, returnsWhole } from "./returned-content.ts";
import type { ReturnedContent } from "./returned-content.ts";
import { wantsReport, whyNobodyIsTold } from "./who-is-told.ts";

export type ReportSettings = {
  readonly myhostname: string;
  readonly myorigin: string;
  readonly mailName: string;
  readonly mailerDaemon: string;
  readonly doubleBounceSender: string;
  readonly bounceSizeLimit: number;
  readonly delayWarningMs: number;
  readonly lifetimeMs: number;
};

export type ReportParts = {
  readonly reporting: Reporting;
  readonly clock: Clock;
  readonly log: Log;
  readonly settings: ReportSettings;
};

/** Headers are looked for in so much of a large original. */
const headerSearchBytes = 262_144;

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

async function report(opened: OpenedReport, parts: ReportParts): Promise<ReportEnd> {
  const { reporting, log, settings } = parts;
  const notification = opened.kind === "delay" ? "delay" : "non-delivery";
  const recipients = opened.recipients.filter((each) => wantsReport(each, opened.kind));
  const whyNot =
    whyNobodyIsTold(opened.envelope.sender, settings) ??
    (recipients.length === 0 ? "nobody asked to be told (NOTIFY)" : undefined);
  if (whyNot !== undefined) {
    const answer = await reporting.queue(opened, undefined);
    if (answer === "stale") return "left";
    log.info(`no ${notification} notification: ${whyNot}`, opened.id);
    return "dropped";
  }
  const reportId = reporting.newId();
  const composed = composeReport({
    id: opened.id,
    reportId,
    kind: opened.kind,
    envelope: opened.envelope,
    arrivalMs: opened.arrivalMs,
    nowMs: parts.clock.nowMs(),
    recipients,
    returned: await readReturned(opened, parts),
    ...settings,
  });
  const answer = await reporting.queue(opened, {
    id: reportId,
    queue: "incoming",
    envelope: {
      sender: "",
      origin: "bounce",
      encoding: composed.has8Bit ? "8bit" : "7bit",
      ...(composed.isUtf8 ? { smtputf8: true } : {}),
    },
    recipients: [{ address: opened.envelope.sender }],
    content: await store(composed, reportId, reporting),
  });
  if (answer === "stale") return "left";
  logMessageId(log, reportId, composed.messageId);
  logNotification(log, { id: opened.id, kind: notification, reportId });
  return "queued";
}

/** A report is sent even when the content is gone (delivery.md §9). */
async function readReturned(opened: OpenedReport, parts: ReportParts): Promise<ReturnedContent> {
  const { content, envelope } = opened;
  const isWhole = returnsWhole(
    { kind: opened.kind, sizeBytes: content.sizeBytes, ret: envelope.ret },
    parts.settings.bounceSizeLimit,
  );
  try {
    if (isWhole) {
      const bytes = await parts.reporting.readContent(content, content.sizeBytes);
      return { kind: "whole", bytes };
    }
    const front = await parts.reporting.readContent(content, headerSearchBytes);
    return { kind: "headers", bytes: headersOf(front) };
  } catch (error) {
    if (!isPostmqError(error, "PMQ_MESSAGE_UNREADABLE")) throw error;
    parts.log.warning(`the report goes out without the message: ${error.message}`, opened.id);
    return { kind: "unavailable" };
  }
}

async function store(
  composed: ComposedReport,
  reportId: QueueId,
  reporting: Reporting,
): Promise<FinishedContent> {
  const writer = reporting.openContent(reportId);
  try {
    await writer.write(composed.content);
    return await writer.finish();
  } catch (error) {
    await writer.abort();
    throw error;
  }
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
