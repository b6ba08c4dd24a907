/**
 * Puts our Received header on top.
 *
 * It names the recipient only if there is exactly one: more would tell each of the others.
 *
 * Source: spec V9; queues.md §3 step 2; RFC 5321 §4.4, §7.2.
 */
import { formatReceived } from "@postmq/mail-format";
import type { Draft } from "./cleaning.ts";

export function prependReceived(draft: Draft): Draft {
  const { id, arrivalMs, parameters, recipients } = draft.input;
  const [first] = recipients;
  const received = formatReceived({
    by: parameters.myhostname,
    mailName: parameters.mail_name,
    id,
    atMs: arrivalMs,
    ...(draft.envelope.client === undefined ? {} : { client: draft.envelope.client }),
    ...(first !== undefined && recipients.length === 1 ? { soleRecipient: first.address } : {}),
  });
  return { ...draft, prepended: received + draft.prepended };
}
