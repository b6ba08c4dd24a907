/**
 * What cleanup does to a message before it enters the queue. smtpd runs the same in its dialogue.
 *
 * Each step is a pure function in a file of its own; `steps` is their order. The body is never looked at nor copied:
 * the result is a new head and the offset from which the content goes on unchanged.
 *
 * Source: spec rewriting-and-checks.md §1 (R1 to R6, R15), §3; DESIGN §2 "cleanup", "smtpd".
 */
import { scanHeaders } from "@postmq/mail-format";
import type { CleanedMessage, CleaningInput, Draft, RefusedMessage, Step } from "./cleaning.ts";
import { completeAddresses } from "./complete-addresses.ts";
import { cutLongHeaders } from "./cut-long-headers.ts";
import { dropHeaders } from "./drop-headers.ts";
import { removeDuplicates } from "./duplicate-recipients.ts";
import { checkHeadSize } from "./head-size.ts";
import { extractHeaderRecipients } from "./header-recipients.ts";
import { checkHopCount } from "./hop-count.ts";
import { mailboxLine } from "./mailbox-line.ts";
import { addMissingHeaders } from "./missing-headers.ts";
import { requireRecipients } from "./require-recipients.ts";
import { startsWithEmptyLine } from "./empty-line.ts";
import { checkSize } from "./message-size.ts";
import { prependReceived } from "./trace-header.ts";

const lineFeed = 0x0a;

/** In this order: the envelope (R1), what may refuse the content, then the headers (R4). */
const steps: readonly Step[] = [
  extractHeaderRecipients,
  completeAddresses,
  removeDuplicates,
  requireRecipients,
  checkSize,
  checkHeadSize,
  checkHopCount,
  dropHeaders,
  cutLongHeaders,
  addMissingHeaders,
  prependReceived,
];

/** The message as it is to be stored, or why it is refused. */
export function cleanUp(input: CleaningInput): CleanedMessage | RefusedMessage {
  const { content } = input;
  const first = mailboxLine(content);
  const scanned = scanHeaders(content.subarray(first.length));
  const untouched: Draft = {
    input,
    envelope: input.envelope,
    recipients: input.recipients,
    received: scanned.headers,
    headBytes: scanned.headersEnd,
    kept: scanned.headers,
    prepended: first.header,
    appended: "",
    messageId: "",
  };
  let draft = untouched;
  for (const step of steps) {
    const next = step(draft);
    if ("kind" in next) {
      return { ...next, envelope: draft.envelope, recipients: draft.recipients };
    }
    draft = next;
  }
  const headersEnd = first.length + scanned.headersEnd;
  return {
    kind: "cleaned",
    head: assembleHead(
      draft,
      content.subarray(first.length, headersEnd),
      content.subarray(headersEnd),
    ),
    bodyOffset: headersEnd,
    envelope: draft.envelope,
    recipients: draft.recipients,
    messageId: draft.messageId,
  };
}

function assembleHead(draft: Draft, headersAsReceived: Buffer, rest: Buffer): Buffer {
  const kept =
    draft.kept === draft.received ? [headersAsReceived] : draft.kept.map((header) => header.raw);
  const isCutShort = headersAsReceived.length > 0 && headersAsReceived.at(-1) !== lineFeed;
  const separator = rest.length === 0 || startsWithEmptyLine(rest) ? "" : "\r\n";
  return Buffer.concat([
    Buffer.from(draft.prepended),
    ...kept,
    Buffer.from((isCutShort ? "\r\n" : "") + draft.appended + separator),
  ]);
}
