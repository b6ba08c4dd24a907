/**
 * What of the original goes back with a report: all of it, its headers, or word that it can't be had.
 *
 * Source: spec D32; delivery.md §9 "Format"; RFC 3462, RFC 3461 §4.3 (RET).
 */
import { scanHeaders } from "@postmq/mail-format";
import type { ReportKind } from "@postmq/queue-store";

export type ReturnedContent =
  | { readonly kind: "whole"; readonly bytes: Buffer }
  | { readonly kind: "headers"; readonly bytes: Buffer }
  | { readonly kind: "unavailable" };

/** A delay warning has headers alone. bounce_size_limit beats RET: a larger original comes back as its headers (D32). */
export function returnsWhole(
  message: {
    readonly kind: ReportKind;
    readonly sizeBytes: number;
    readonly ret: "FULL" | "HDRS" | undefined;
  },
  bounceSizeLimit: number,
): boolean {
  if (message.kind === "delay") return false;
  return message.ret !== "HDRS" && message.sizeBytes <= bounceSizeLimit;
}

/** The headers in the front of a message, as they stand there. */
export function headersOf(front: Buffer): Buffer {
  return front.subarray(0, scanHeaders(front).headersEnd);
}
