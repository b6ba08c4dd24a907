/** What a report is made from, and what comes of it. */
import type { Envelope, QueueId } from "@postmq/vocabulary";
import type { ReportSettings } from "../settings.ts";
import type { Notice } from "../who-is-told.ts";
import type { ReturnedContent } from "./returned-content.ts";

export type ReportInput = {
  /** The message that is reported. */
  readonly id: QueueId;
  readonly reportId: QueueId;
  readonly notice: Notice;
  readonly envelope: Envelope;
  readonly arrivalMs: number;
  readonly nowMs: number;
  readonly returned: ReturnedContent;
  readonly settings: ReportSettings;
};

export type ComposedReport = {
  readonly content: Buffer;
  readonly messageId: string;
  readonly has8Bit: boolean;
  /** It holds internationalised addresses, and needs SMTPUTF8 itself. */
  readonly isUtf8: boolean;
};
