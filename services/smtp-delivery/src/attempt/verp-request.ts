/**
 * A request as servers are to see it: with VERP its sender names the recipient, of which there is one then (S17).
 *
 * Whatever goes over the wire, or depends on what does, goes by that sender: generic maps, SMTPUTF8, logins by sender.
 * What the operator said about the sender of the message goes by the sender of the message (sender-dependent relay hosts).
 *
 * Source: Postfix src/qmgr/qmgr_deliver.c qmgr_deliver_send_request, which does this for all agents; spec D33.
 */
import { verpSender } from "@postmq/mail-format";
import type { ClaimedRequest } from "@postmq/queue-store";
import { verpDelimitersOf } from "@postmq/vocabulary";

export function withVerpSender(request: ClaimedRequest): ClaimedRequest {
  const { envelope } = request;
  const delimiters = verpDelimitersOf(envelope);
  const [recipient] = request.recipients;
  if (delimiters === undefined || recipient === undefined) return request;
  const { address, original = address } = recipient;
  const sender = verpSender(delimiters, envelope.sender, original);
  return { ...request, envelope: { ...envelope, sender } };
}
