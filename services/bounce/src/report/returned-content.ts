/**
 * What of the original goes back with a report: all of it, its headers, or word that it can't be had.
 *
 * Source: spec D32; delivery.md §9 "Format"; RFC 3462, RFC 3461 §4.3 (RET).
 */
import { scanHeaders } from "@postmq/mail-format";

export type ReturnedContent =
  | { readonly kind: "whole"; readonly bytes: Buffer }
  | { readonly kind: "headers"; readonly bytes: Buffer }
  | { readonly kind: "unavailable" };

/** bounce_size_limit beats RET: a larger original comes back as its headers (D32). */
export function returnsWhole(
  wanted: "whole" | "headers",
  sizeBytes: number,
  bounceSizeLimit: number,
): boolean {
  return wanted === "whole" && sizeBytes <= bounceSizeLimit;
}

/** The headers in the front of a message, as they stand there. */
export function headersOf(front: Buffer): Buffer {
  return front.subarray(0, scanHeaders(front).headersEnd);
}
