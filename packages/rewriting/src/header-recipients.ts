/**
 * Reads recipients from the headers, as `sendmail -t` asks for.
 *
 * They are taken from To, Cc and Bcc, or from their Resent- variants alone if any Resent- header is present, and
 * come after the recipients that were given. A malformed address is kept as a failed recipient, so that the sender
 * hears of it. (Bcc itself is removed by the drop list.)
 *
 * Source: spec admin-tools.md §4 `-t`; Postfix sendmail(1).
 */
import { parseAddress, parseAddressHeader } from "@postmq/mail-format";
import { enhancedStatus } from "@postmq/vocabulary";
import type { CleanedRecipient, Draft } from "./cleaning.ts";
import { hasResentHeaders } from "./resent-headers.ts";

const recipientHeaders = new Set(["to", "cc", "bcc"]);
const resentRecipientHeaders = new Set(["resent-to", "resent-cc", "resent-bcc"]);

export function extractHeaderRecipients(draft: Draft): Draft {
  const { extractRecipients, extractedNotify, ...envelope } = draft.envelope;
  if (extractRecipients !== true) return draft;
  const names = hasResentHeaders(draft.received) ? resentRecipientHeaders : recipientHeaders;
  const found = draft.received
    .filter((header) => names.has(header.name))
    .flatMap((header) => parseAddressHeader(header.value()))
    .map(headerRecipient)
    .map((one) => (extractedNotify === undefined ? one : { ...one, notify: extractedNotify }));
  return { ...draft, envelope, recipients: [...draft.recipients, ...found] };
}

function headerRecipient(text: string): CleanedRecipient {
  const address = parseAddress(text);
  if (address !== undefined) return { address };
  return {
    address: text
      .slice(0, 1000)
      .toWellFormed()
      .replaceAll(/[\p{Cc}\u2028\u2029]/gu, "?"),
    failed: { status: enhancedStatus("5.1.3"), reason: "bad address syntax" },
  };
}
