/**
 * What a table says for a sender: the relay host, or the transport, of mail that leaves.
 *
 * Source: spec rewriting-and-checks.md §6, R22; postconf(5) sender_dependent_relayhost_maps,
 * sender_dependent_default_transport_maps; Postfix src/global/mail_addr_find.c, MA_FIND_DEFAULT.
 */
import { withoutExtension } from "./address-extension.ts";

export type SenderLookup = {
  /** lookup may throw PMQ_TABLE_UNREADABLE. */
  readonly table: { lookup(key: string): string | undefined };
  /** Named when a result is ignored. */
  readonly parameterName: string;
  readonly recipientDelimiter: string;
  readonly myorigin: string;
  /** Domains of the local class, in lower case. */
  readonly local: ReadonlySet<string>;
  readonly onTrouble: (text: string) => void;
};

/** Stands for the null sender. Source: postconf(5) empty_address_relayhost_maps_lookup_key. */
const nullSenderKey = "<>";

/**
 * The result for the first key that the table has, as it is written.
 *
 * @returns undefined: no key, the result DUNNO, or an empty result, which is ignored and told
 * @throws PMQ_TABLE_UNREADABLE
 */
export function lookupSender(sender: string, lookup: SenderLookup): string | undefined {
  for (const key of senderKeys(sender, lookup)) {
    const found = lookup.table.lookup(key)?.trim();
    if (found === undefined) continue;
    if (found === "")
      lookup.onTrouble(`${lookup.parameterName}: ignoring null lookup result for ${key}`);
    return found === "" || found.toUpperCase() === "DUNNO" ? undefined : found;
  }
  return undefined;
}

/** user+ext@domain, user@domain, for one's own domains also user+ext and user, then @domain. */
function senderKeys(sender: string, lookup: SenderLookup): readonly string[] {
  if (sender === "") return [nullSenderKey];
  const address = sender.toLowerCase();
  const at = address.lastIndexOf("@");
  const localPart = at < 0 ? address : address.slice(0, at);
  const domain = at < 0 ? lookup.myorigin.toLowerCase() : address.slice(at + 1);
  const bare = withoutExtension(localPart, lookup.recipientDelimiter);
  const users = bare === localPart ? [localPart] : [localPart, bare];
  const isOwn = domain === lookup.myorigin.toLowerCase() || lookup.local.has(domain);
  return [...users.map((user) => `${user}@${domain}`), ...(isOwn ? users : []), `@${domain}`];
}
