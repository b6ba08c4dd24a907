/**
 * Which recipients of a message a listing shows, and in which order.
 *
 * First those with a reason for their deferral, then the rest that is still to be tried, without those already
 * shown. Recipients that are done, or failed and wait for their report, are never shown: in Postfix they are out of
 * the queue file by then.
 *
 * Departs: Postfix forgets the reasons of the last attempt when it opens a message for the next one; we go on
 * showing them, since they are still true.
 *
 * Source: spec admin-tools.md §1; Postfix src/showq/showq.c.
 */
import { quoteAddress } from "@postmq/mail-format";
import type { ListedMessage } from "@postmq/queue-store";
import type { StoredRecipient } from "@postmq/vocabulary";

import { printable } from "./printable.ts";

export type ShownRecipient = {
  /** Quoted and printable, as it goes out. */
  readonly address: string;
  readonly delayReason?: string;
};

/** Most addresses: nothing to quote, nothing to hide. */
const plainAddress = /^[A-Za-z0-9_+-]+(?:\.[A-Za-z0-9_+-]+)*@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*$/;

/** An address as listings show it; the null address as `emptyAddress`. */
export function shownAddress(address: string, emptyAddress: string): string {
  if (plainAddress.test(address)) return address;
  return printable(quoteAddress(address === "" ? emptyAddress : address));
}

export function shownRecipients(
  message: ListedMessage,
  emptyAddress: string,
): readonly ShownRecipient[] {
  const only = message.recipients.length === 1 ? message.recipients[0] : undefined;
  if (only !== undefined) return shownOne(only, emptyAddress);
  const delayed: ShownRecipient[] = [];
  const waiting: ShownRecipient[] = [];
  for (const recipient of message.recipients) {
    const shown = shownOne(recipient, emptyAddress);
    if (recipient.state.kind === "deferred") delayed.push(...shown);
    else waiting.push(...shown);
  }
  const seen = new Set(delayed.map(({ address }) => address));
  return [...delayed, ...waiting.filter(({ address }) => !seen.has(address))];
}

function shownOne(recipient: StoredRecipient, emptyAddress: string): readonly ShownRecipient[] {
  switch (recipient.state.kind) {
    case "deferred": {
      const delayReason = printable(recipient.state.reason);
      return [{ address: shownAddress(recipient.address, emptyAddress), delayReason }];
    }
    case "todo":
      return [{ address: shownAddress(recipient.address, emptyAddress) }];
    default:
      return [];
  }
}
