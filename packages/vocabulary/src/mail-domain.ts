/**
 * The domain under which qshape and the indexes count an address.
 *
 * After the last @, lower case, `..` made `.`, one dot stripped at each end; without an @ the whole string;
 * the null sender counts as MAILER-DAEMON. An address without a domain behind its @ is counted whole: an index has no name
 * for nothing. Source: spec A6; Postfix auxiliary/qshape/qshape.pl.
 */
export function countedDomain(address: string): string {
  if (address === "") return "MAILER-DAEMON";
  const at = address.lastIndexOf("@");
  const domain = at < 0 ? address : address.slice(at + 1);
  const counted = domain.toLowerCase().replaceAll(/\.\.+/g, ".");
  return counted.replace(/^\./, "").replace(/\.$/, "") || address;
}

/**
 * The sender under which the index of senders and selections know a message: its domain in lower case, its local part
 * as it is (RFC 5321 §2.4). The null sender is the empty string.
 */
export function senderKey(sender: string): string {
  const at = sender.lastIndexOf("@") + 1;
  return at === 0 ? sender : sender.slice(0, at) + sender.slice(at).toLowerCase();
}
