/**
 * A message that was cut out of a mailbox file may start with its `From ` line, which is no header and would make all
 * headers body text. Like Postfix, we keep it as a header of its own.
 *
 * Source: Postfix src/smtpd/smtpd.c, src/sendmail/sendmail.c (X-Mailbox-Line).
 */

/** Length of such a line at the start of the content, and the header to put in its place; 0 and empty if none. */
export function mailboxLine(content: Buffer): { readonly length: number; readonly header: string } {
  const none = { length: 0, header: "" };
  if (content[0] !== 0x3e && content[0] !== 0x46) return none;
  const end = content.indexOf("\r\n");
  if (end < 0) return none;
  const line = content.toString("latin1", 0, Math.min(end, 1000));
  if (!/^>*From /.test(line)) return none;
  return { length: end + 2, header: `X-Mailbox-Line: ${line.replaceAll(/[^ -~]/g, "?")}\r\n` };
}
