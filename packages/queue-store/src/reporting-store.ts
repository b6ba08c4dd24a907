/**
 * Bounce's side of the store: queueing a report and marking it no longer owed are one act.
 *
 * Source: DESIGN §2; spec Q6, queues.md §3.7.
 */
import { randomInt } from "node:crypto";
import type { Redis } from "ioredis";
import { makeQueueId, panic, PostmqError } from "@postmq/vocabulary";
import type { QueueId } from "@postmq/vocabulary";
import { commitArguments, commitKeys, needsStaging, stageRecipients } from "./commit-arguments.ts";
import { readContentWhole, StagedContentWriter } from "./content.ts";
import type {
  ContentRef,
  ContentWriter,
  NewMessage,
  NotOpened,
  OpenedReport,
  Reporting,
} from "./contract.ts";
import { MessageOpener } from "./message-opener.ts";
import { packNumbers } from "./packing.ts";
import { storeError } from "./redis-connection.ts";
import { asText } from "./script-reply.ts";
import { loadScript, runScript } from "./script.ts";
import type { StoreParts } from "./store-parts.ts";

const queueReport = loadScript("queue-report");
const closeReport = loadScript("queue-report", "allow-oom");

/** A script takes some 0.1 ms for each; nobody else is served meanwhile. */
const mostReports = 500;

export class ReportingStore implements Reporting {
  readonly #parts: StoreParts;
  readonly #redis: Redis;
  readonly #opener: MessageOpener;

  constructor(parts: StoreParts) {
    this.#parts = parts;
    this.#redis = parts.connect("patient", "reporting");
    this.#opener = new MessageOpener(parts, "report");
  }

  async open(id: QueueId): Promise<OpenedReport | NotOpened> {
    const opened = await this.#opener.open(id);
    if (typeof opened === "string") return opened;
    return { ...opened, kind: opened.reportKind ?? panic("a report without a kind") };
  }

  readContent(content: ContentRef, maxBytes: number): Promise<Buffer> {
    return readContentWhole(this.#redis, this.#parts.keys.prefix, content, maxBytes);
  }

  async queue(opened: OpenedReport, reports: readonly NewMessage[]): Promise<"queued" | "stale"> {
    const answer = await this.#queue(opened, reports, "");
    this.#opener.close(opened.id);
    return answer === "stale" ? answer : "queued";
  }

  async queuePart(
    opened: OpenedReport,
    told: readonly number[],
    reports: readonly NewMessage[],
  ): Promise<OpenedReport | "stale"> {
    if (told.length === 0) panic("a part of a report that tells of nobody");
    const answer = await this.#queue(opened, reports, packNumbers(told));
    if (answer === "stale") {
      this.#opener.close(opened.id);
      return "stale";
    }
    const wasTold = new Set(told);
    const recipients = opened.recipients.filter(({ number }) => !wasTold.has(number));
    return { ...opened, counts: answer, recipients };
  }

  /** @returns stale, queued, or the counts after a part */
  async #queue(
    opened: OpenedReport,
    reports: readonly NewMessage[],
    told: string,
  ): Promise<string> {
    const { keys, monitor, worker, bells } = this.#parts;
    if (reports.length > mostReports) panic(`${reports.length} reports in one act`);
    try {
      for (const report of reports) {
        if (needsStaging(report)) await stageRecipients(this.#redis, keys.prefix, report, "0");
      }
      const answer = asText(
        await runScript(
          this.#redis,
          reports.length === 0 ? closeReport : queueReport,
          [keys.record(opened.id), ...reports.flatMap((report) => commitKeys(keys.prefix, report))],
          [
            keys.prefix,
            monitor.identity,
            opened.id,
            worker,
            opened.kind,
            opened.counts,
            told,
            String(reports.length),
            ...reports.flatMap(commitArguments),
          ],
        ),
      );
      if (answer === "expired") {
        throw new PostmqError(
          "PMQ_STORE_CONTENT_EXPIRED",
          "content stored ahead of the report is gone",
        );
      }
      if (answer !== "stale")
        for (const { id } of reports) bells.ringAndForget(bells.ring("incoming", id));
      return answer;
    } catch (error) {
      throw storeError(error);
    }
  }

  giveBack(opened: OpenedReport): Promise<void> {
    return this.#opener.giveBack(opened);
  }

  openContent(id: QueueId): ContentWriter {
    return new StagedContentWriter(this.#redis, {
      prefix: this.#parts.keys.prefix,
      id,
      inlineId: id,
      onWrite: () => undefined,
    });
  }

  newId(): QueueId {
    return makeQueueId(Math.floor(this.#parts.monitor.nowMs() * 1000), randomInt(2 ** 34));
  }
}
