/**
 * The part of a report that holds the original, or its headers, or word that it can't be had.
 *
 * Source: spec delivery.md §9 "Format"; RFC 3464 §2; RFC 6522 §3; RFC 6533 §6 (message/global).
 */
import type { MimePart } from "./mime-part.ts";
import { nullSenderName } from "./null-sender-name.ts";
import type { ReportInput } from "./report-input.ts";
import { oneLine, wrapOnlyIfTooLong } from "./sanitise.ts";

export function originalPart(input: ReportInput, isUtf8: boolean): MimePart {
  const { returned, envelope, notice, settings } = input;
  const undelivered = notice.kind === "success" ? "" : "Undelivered ";
  if (returned.kind === "unavailable") {
    return {
      description: `${undelivered}Message`,
      type: "text/plain; charset=us-ascii",
      body: Buffer.from("The content of the message can't be read.\r\n"),
    };
  }
  const sender = envelope.sender === "" ? nullSenderName(settings) : envelope.sender;
  const returnPath = wrapOnlyIfTooLong(`Return-Path: <${oneLine(sender, isUtf8)}>`);
  const body = Buffer.concat([Buffer.from(`${returnPath}\r\n`), returned.bytes]);
  if (returned.kind === "headers") {
    const type = isUtf8 ? "message/global-headers" : "text/rfc822-headers";
    return { description: `${undelivered}Message Headers`, type, body };
  }
  const type = isUtf8 ? "message/global" : "message/rfc822";
  return { description: `${undelivered}Message`, type, body };
}
