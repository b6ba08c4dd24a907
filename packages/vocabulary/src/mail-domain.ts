/**
 * The domain under which qshape and the indexes count an address.
 *
 * After the last @, lower case, `..` made `.`, one dot stripped at each end; without an @ the whole string;
 * the null sender counts as MAILER-DAEMON. Source: spec A6; Postfix auxiliary/qshape/qshape.pl.
 */
export function countedDomain(address: string): string {
  if (address === "") return "MAILER-DAEMON";
  const at = address.lastIndexOf("@");
  const domain = at < 0 ? address : address.slice(at + 1);
  return domain.toLowerCase().replaceAll(/\.\.+/g, ".").replace(/^\./, "").replace(/\.$/, "");
}
