/**
 * The extension of a local part: `list` of `joe+list`.
 *
 * Source: postconf(5) recipient_delimiter.
 */

/** The local part up to the first delimiter; whole when it would be empty, or is an owner- or -request name. */
export function withoutExtension(localPart: string, delimiters: string): string {
  if (
    delimiters === "" ||
    /^(?:mailer-daemon|double-bounce|owner-.*|.*-request)$/i.test(localPart)
  ) {
    return localPart;
  }
  const at = [...localPart].findIndex(
    (character, index) => index > 0 && delimiters.includes(character),
  );
  return at < 0 ? localPart : [...localPart].slice(0, at).join("");
}
