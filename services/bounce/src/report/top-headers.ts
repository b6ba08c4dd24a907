/**
 * The header section of a report.
 *
 * Source: spec delivery.md §9 "Format"; RFC 3834 §5 (Auto-Submitted); RFC 5322 §3.6.4 (References); postconf(5)
 * enable_threaded_bounces; Postfix src/bounce/bounce_notify_util.c.
 */
import {
  addressDomain,
  formatMailDate,
  formatReceived,
  parseAddressHeader,
  scanHeaders,
} from "@postmq/mail-format";
import { templateName } from "../template/template.ts";
import type { Template } from "../template/template.ts";
import type { ReportInput } from "./report-input.ts";
import type { ReturnedContent } from "./returned-content.ts";
import { oneLine, wrapOnlyIfTooLong } from "./sanitise.ts";

/** With the empty line that ends it, and the words for readers that know no MIME. */
export function topHeaders(
  input: ReportInput,
  made: {
    readonly boundary: string;
    readonly messageId: string;
    readonly has8Bit: boolean;
    readonly isUtf8: boolean;
  },
): string {
  const { settings, notice } = input;
  const template = settings.templates[templateName(notice.kind)];
  const isCopy = notice.to === "postmaster";
  const received = formatReceived({
    by: settings.myhostname,
    mailName: settings.mailName,
    id: input.reportId,
    atMs: input.nowMs,
  });
  const lines = [
    `Date: ${formatMailDate(input.nowMs)}`,
    `From: ${completedFrom(template, settings.myorigin)}`,
    `Subject: ${(isCopy ? template.postmasterSubject : undefined) ?? template.subject}`,
    wrapOnlyIfTooLong(`To: ${oneLine(notice.recipient, made.isUtf8)}`),
    ...(settings.refersToOriginal ? references(input.returned) : []),
    `Auto-Submitted: ${isCopy ? "auto-generated" : "auto-replied"}`,
    "MIME-Version: 1.0",
    "Content-Type: multipart/report; report-type=delivery-status;",
    `\tboundary="${made.boundary}"`,
    ...(made.has8Bit ? ["Content-Transfer-Encoding: 8bit"] : []),
    `Message-Id: ${made.messageId}`,
    "",
    "This is a MIME-encapsulated message.",
    "",
  ];
  return `${received}${lines.map((line) => `${line}\r\n`).join("")}`;
}

/** A template says `MAILER-DAEMON`, and cleanup would complete it (R4). */
function completedFrom({ from }: Template, myorigin: string): string {
  const [address] = parseAddressHeader(from);
  if (address === undefined || addressDomain(address) !== undefined) return from;
  const completed = `${address}@${myorigin}`;
  return from.includes(`<${address}>`)
    ? from.replace(`<${address}>`, () => `<${completed}>`)
    : from.replace(address, () => completed);
}

const longestMessageId = 900;

/** Threads the report with the original, where that has a Message-ID. */
function references(returned: ReturnedContent): readonly string[] {
  if (returned.kind === "unavailable") return [];
  const header = scanHeaders(returned.bytes).headers.find(({ name }) => name === "message-id");
  const id = /<[\x21-\x3b\x3d\x3f-\x7e]+>/.exec(header?.value() ?? "")?.[0];
  if (id === undefined || id.length > longestMessageId) return [];
  return [`References: ${id}`, `In-Reply-To: ${id}`];
}
