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
import { readContentWhole, StagedContentWriter, stageInline } from "./content.ts";
import type {
  ContentRef,
  ContentWriter,
  NewMessage,
  NotOpened,
  OpenedReport,
  Reporting,
} from "./contract.ts";
import { MessageOpener } from "./message-opener.ts";
import { storeError } from "./redis-connection.ts";
import { asWord } from "./script-reply.ts";
import { loadScript, runScript } from "./script.ts";
import type { StoreParts } from "./store-parts.ts";

const queueReport = loadScript("queue-report");
const closeReport = loadScript("queue-report", "allow-oom");

/** Content that travels in the script which queues the reports; that of many reports to VERP addresses goes ahead. */
const mostInlineBytes = 4_194_304;

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
    const { keys, monitor, worker, bells } = this.#parts;
    try {
      const commits = await this.#stage(reports);
      const word = asWord(
        await runScript(
          this.#redis,
          commits.length === 0 ? closeReport : queueReport,
          [keys.record(opened.id), ...commits.flatMap((report) => commitKeys(keys.prefix, report))],
          [
            keys.prefix,
            monitor.identity,
            opened.id,
            worker,
            opened.kind,
            opened.counts,
            String(commits.length),
            ...commits.flatMap(commitArguments),
          ],
        ),
        ["queued", "stale", "expired"],
      );
      if (word === "expired") {
        throw new PostmqError(
          "PMQ_STORE_CONTENT_EXPIRED",
          "content stored ahead of the report is gone",
        );
      }
      if (word === "queued")
        for (const { id } of commits) bells.ringAndForget(bells.ring("incoming", id));
      this.#opener.close(opened.id);
      return word;
    } catch (error) {
      throw storeError(error);
    }
  }

  /** What is too much for one call goes ahead. @returns the reports without it */
  async #stage(reports: readonly NewMessage[]): Promise<readonly NewMessage[]> {
    const { prefix } = this.#parts.keys;
    const staged: NewMessage[] = [];
    let inlineBytes = 0;
    for (const report of reports) {
      if (needsStaging(report)) await stageRecipients(this.#redis, prefix, report, "0");
      inlineBytes += report.content.inline?.length ?? 0;
      if (inlineBytes <= mostInlineBytes) staged.push(report);
      else {
        const content = await stageInline(this.#redis, prefix, report.content);
        staged.push({ ...report, content });
      }
    }
    return staged;
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
