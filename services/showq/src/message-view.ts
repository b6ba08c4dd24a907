/**
 * Messages as the HTTP API shows them: the keys of `postqueue -j`, then more.
 *
 * Source: spec http-api.md §2; admin-tools.md §1 ("may add keys at the end").
 */
import { shownAddress, shownRecipients } from "@postmq/queue-admin";
import type { ListedMessage } from "@postmq/queue-store";
import type { StoredRecipient } from "@postmq/vocabulary";

import { optionalSeconds, seconds } from "./seconds.ts";

/** A message in a listing. */
export function listedView(message: ListedMessage, emptyAddress: string): object {
  return {
    queue_name: message.queue,
    queue_id: message.id,
    arrival_time: seconds(message.arrivalMs),
    message_size: message.sizeBytes,
    forced_expire: message.isForceExpired,
    sender: shownAddress(message.envelope.sender, emptyAddress),
    recipients: shownRecipients(message, emptyAddress).map(({ address, delayReason }) =>
      delayReason === undefined ? { address } : { address, delay_reason: delayReason },
    ),
    undone_recipients: message.undoneRecipients,
    total_recipients: message.totalRecipients,
    attempts: message.attempts,
    ...optionalSeconds("last_attempt_time", message.lastAttemptMs),
    ...optionalSeconds("next_attempt_time", message.dueMs),
    ...(message.corruptReason === undefined ? {} : { corrupt_reason: message.corruptReason }),
  };
}

/** One message with its whole envelope. */
export function messageView(message: ListedMessage, emptyAddress: string): object {
  const { origin, client, envid, ret, smtputf8, verpDelimiters } = message.envelope;
  return {
    id: message.id,
    ...listedView(message, emptyAddress),
    create_time: seconds(message.createdMs),
    origin,
    ...(client === undefined
      ? {}
      : { client: { name: client.name, address: client.address, protocol: client.protocol } }),
    ...(envid === undefined ? {} : { envid }),
    ...(ret === undefined ? {} : { ret }),
    ...(verpDelimiters === undefined ? {} : { verp: verpDelimiters }),
    ...(smtputf8 === true ? { smtputf8 } : {}),
    recipients: message.recipients.map(recipientView),
  };
}

function recipientView({ address, original, notify, state }: StoredRecipient): object {
  return {
    address,
    ...(original === undefined ? {} : { orig_address: original }),
    ...(notify === undefined ? {} : { notify }),
    state: state.kind,
    ...(state.kind === "deferred" ? { delay_reason: state.reason, dsn: state.status } : {}),
    ...(state.kind === "failed" ? { bounce_reason: state.reason, dsn: state.status } : {}),
  };
}
