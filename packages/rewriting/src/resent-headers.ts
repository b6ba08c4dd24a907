/** Resent- headers: if one is present, the message was sent on by hand and its sender is the one who did (RFC 5322 §3.6.6). */
import type { RawHeader } from "@postmq/mail-format";

export function hasResentHeaders(headers: readonly RawHeader[]): boolean {
  return headers.some((header) => header.name.startsWith("resent-"));
}
