/**
 * Variable envelope return paths (VERP): senders that name the recipient, so that who gets a report knows by its address
 * alone who could not be reached.
 *
 * `prefix@origin` becomes, with the delimiters `+=` and for user@domain, `prefix+user=domain@origin`. What is joined are
 * the local parts without their quotes, and the whole gets quotes where it needs them, as Postfix's unquoted addresses do
 * on their way out. Nothing is cut: an address that a server finds too long is refused by that server.
 *
 * Source: verp_sender(3); VERP_README; Postfix src/global/verp_sender.c.
 */
import { addressDomain, quoteLocalPart, unquoteLocalPart } from "./smtp-path.ts";

/**
 * The sender for one recipient. Addresses are in the form we keep, without angle brackets.
 *
 * @param delimiters two characters
 * @param sender not the null address, which names nobody
 * @param recipient as whoever handed the message in knows it: before rewriting
 */
export function verpSender(delimiters: string, sender: string, recipient: string): string {
  const from = split(sender);
  const to = split(recipient);
  const named = to.domain === undefined ? to.local : to.local + delimiters.slice(1) + to.domain;
  const local = quoteLocalPart(from.local + delimiters.slice(0, 1) + named);
  return from.domain === undefined ? local : `${local}@${from.domain}`;
}

function split(address: string): { readonly local: string; readonly domain: string | undefined } {
  const domain = addressDomain(address);
  const local = domain === undefined ? address : address.slice(0, -domain.length - 1);
  return { local: unquoteLocalPart(local), domain };
}
