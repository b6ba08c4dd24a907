/**
 * Bounds the headers of a message as a whole: what has no end of headers in reach is refused, however it came in.
 *
 * Source: security.md 5 (header block bounded).
 */
import { enhancedStatus } from "@postmq/vocabulary";
import type { Draft, Refusal } from "./cleaning.ts";

/** Room for ten headers of Postfix's header_size_limit (102400 bytes) each. */
const longestHeadBytes = 1_048_576;

export const headTooLarge: Refusal = {
  kind: "refused",
  smtpCode: 552,
  status: enhancedStatus("5.3.4"),
  text: "message headers too large",
};

export function isHeadTooLarge(sizeBytes: number): boolean {
  return sizeBytes > longestHeadBytes;
}

export function checkHeadSize(draft: Draft): Draft | Refusal {
  return isHeadTooLarge(draft.headBytes) ? headTooLarge : draft;
}
