/**
 * A report about mail that could not be delivered, or not yet, or was, as RFC 3464 wants it: multipart/report of a text
 * for people, a message/delivery-status part for programs, and the original or its headers.
 *
 * Pure: everything that varies is passed in. Whatever came from outside (addresses, replies, reasons) is made one line
 * before it is put in; the original goes back byte for byte. All line ends are CRLF.
 *
 * Source: spec delivery.md §9, D28 to D34, S12, S13; RFC 3464, RFC 6522, RFC 6533 (internationalised addresses), RFC 3834
 * (Auto-Submitted).
 */
import { deliveryStatus } from "./delivery-status.ts";
import { explanation } from "./explanation.ts";
import { freeBoundary, is8Bit, multipart } from "./mime-part.ts";
import { originalPart } from "./original-part.ts";
import type { ComposedReport, ReportInput } from "./report-input.ts";
import { topHeaders } from "./top-headers.ts";

export function composeReport(input: ReportInput): ComposedReport {
  const { reportId, nowMs, settings } = input;
  const isUtf8 = needsUtf8(input);
  const { charset, body: text } = explanation(input);
  const parts = [
    { description: "Notification", type: `text/plain; charset=${charset}`, body: text },
    {
      description: "Delivery report",
      type: `message/${isUtf8 ? "global-" : ""}delivery-status`,
      body: Buffer.from(deliveryStatus(input, isUtf8)),
    },
    originalPart(input, isUtf8),
  ];
  const has8Bit = parts.some(({ body }) => is8Bit(body));
  const wanted = `${reportId}.${Math.floor(nowMs / 1000)}/${settings.myhostname}`;
  const boundary = freeBoundary(wanted, parts);
  const messageId = `<${reportId}@${settings.myhostname}>`;
  const head = topHeaders(input, { boundary, messageId, has8Bit, isUtf8 });
  const content = Buffer.concat([Buffer.from(head), multipart(parts, boundary)]);
  return { content, messageId, has8Bit, isUtf8 };
}

/** SMTPUTF8 that was asked for but not used needs no internationalised report (D18). */
function needsUtf8({ envelope, notice, returned }: ReportInput): boolean {
  if (envelope.smtputf8 !== true) return false;
  const addresses = [
    envelope.sender,
    ...notice.about.flatMap(({ address, original, orcpt }) => [
      address,
      original ?? "",
      orcpt ?? "",
    ]),
  ];
  const original = returned.kind === "unavailable" ? Buffer.alloc(0) : returned.bytes;
  return [Buffer.from(addresses.join(" ")), original].some(is8Bit);
}
