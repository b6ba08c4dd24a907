/**
 * Puts our Received header on top.
 *
 * It names the recipient, as it was given, only if there is exactly one: more would tell each of the others.
 *
 * Source: spec V9; queues.md §3 step 2; RFC 5321 §4.4, §7.2.
 */
import { formatReceived } from "@postmq/mail-format";
import type { Draft } from "./cleaning.ts";

export function prependReceived(draft: Draft): Draft {
  const { id, arrivalMs, parameters, recipients } = draft.input;
  const isSole = recipients.length === 1 && draft.recipients.length === 1;
  const [first] = recipients;
  const received = formatReceived({
    by: parameters.myhostname,
    mailName: parameters.mail_name,
    id,
    atMs: arrivalMs,
    ...(draft.envelope.client === undefined ? {} : { client: draft.envelope.client }),
    ...(first !== undefined && isSole ? { soleRecipient: first.address } : {}),
  });
  return { ...draft, prepended: received + draft.prepended };
}
