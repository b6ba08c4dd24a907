/**
 * One notice, ready to be queued: what goes back of the original is read, the report composed and its content stored.
 *
 * Source: spec D32, D34; delivery.md §9.
 */
import type { NewMessage, OpenedReport, Reporting } from "@postmq/queue-store";
import type { Log } from "@postmq/observability";
import { isPostmqError } from "@postmq/vocabulary";
import type { Clock, QueueId } from "@postmq/vocabulary";
import { composeReport } from "./report/compose-report.ts";
import { headersOf, returnsWhole } from "./report/returned-content.ts";
import type { ReturnedContent } from "./report/returned-content.ts";
import type { ReportSettings } from "./settings.ts";
import type { Notice } from "./who-is-told.ts";

export type ReportParts = {
  readonly reporting: Reporting;
  readonly clock: Clock;
  readonly log: Log;
  readonly settings: ReportSettings;
};

export type PreparedNotice = {
  readonly notice: Notice;
  readonly message: NewMessage;
  /** With its angle brackets. */
  readonly messageId: string;
};

/** Headers are looked for in so much of a large original. */
const headerSearchBytes = 262_144;

/** What goes back of the original, read once for all notices of one report. */
export type Returning = (notice: Notice) => Promise<ReturnedContent>;

export function returningOf(opened: OpenedReport, parts: ReportParts): Returning {
  const known = new Map<Notice["content"], Promise<ReturnedContent>>();
  return (notice) => {
    const read = known.get(notice.content) ?? readReturned(notice, opened, parts);
    known.set(notice.content, read);
    return read;
  };
}

/** @throws what the store throws */
export async function prepareNotice(
  notice: Notice,
  opened: OpenedReport,
  returning: Returning,
  parts: ReportParts,
): Promise<PreparedNotice> {
  const reportId = parts.reporting.newId();
  const composed = composeReport({
    id: opened.id,
    reportId,
    notice,
    envelope: opened.envelope,
    arrivalMs: opened.arrivalMs,
    nowMs: parts.clock.nowMs(),
    returned: await returning(notice),
    settings: parts.settings,
  });
  const message: NewMessage = {
    id: reportId,
    queue: "incoming",
    envelope: {
      sender: notice.from,
      origin: "bounce",
      encoding: composed.has8Bit ? "8bit" : "7bit",
      ...(composed.isUtf8 ? { smtputf8: true } : {}),
    },
    recipients: [{ address: notice.recipient }],
    content: await storeContent(composed.content, reportId, parts.reporting),
  };
  return { notice, message, messageId: composed.messageId };
}

/** A report is sent even when the content is gone (delivery.md §9). */
async function readReturned(
  notice: Notice,
  { id, content }: OpenedReport,
  { reporting, settings, log }: ReportParts,
): Promise<ReturnedContent> {
  try {
    if (returnsWhole(notice.content, content.sizeBytes, settings.bounceSizeLimit)) {
      const bytes = await reporting.readContent(content, content.sizeBytes);
      return { kind: "whole", bytes };
    }
    const front = await reporting.readContent(content, headerSearchBytes);
    return { kind: "headers", bytes: headersOf(front) };
  } catch (error) {
    if (!isPostmqError(error, "PMQ_MESSAGE_UNREADABLE")) throw error;
    log.warning(`the report goes out without the message: ${error.message}`, id);
    return { kind: "unavailable" };
  }
}

async function storeContent(
  content: Buffer,
  reportId: QueueId,
  reporting: Reporting,
): Promise<NewMessage["content"]> {
  const writer = reporting.openContent(reportId);
  try {
    await writer.write(content);
    return await writer.finish();
  } catch (error) {
    await writer.abort();
    throw error;
  }
}
