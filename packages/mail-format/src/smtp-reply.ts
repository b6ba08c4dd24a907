/** What an SMTP server said. Source: RFC 5321 §4.2; RFC 2034 §4. */
import { parseEnhancedStatus } from "@postmq/vocabulary";
import type { EnhancedStatus } from "@postmq/vocabulary";

export type SmtpReply = {
  readonly code: number;
  /** Only one of the same class as the code counts. */
  readonly status?: EnhancedStatus;
  /** The whole reply, code included, as one line: lines of a multi-line reply are joined by a space, as in Postfix. */
  readonly text: string;
};

/** Longest text that is kept of a reply: a server must not fill our logs and records. */
const longestText = 2048;

/** A reply as it was received, of one or more lines. undefined: it does not start with a code from 200 to 599. */
export function parseReplyText(reply: string): SmtpReply | undefined {
  const text = reply
    .slice(0, longestText)
    .trim()
    .replaceAll(/\s*\r?\n\s*/g, " ")
    .replaceAll(/\p{Cc}/gu, "?");
  const match = /^([2-5]\d\d)(?:[ -]+([245]\.\d{1,3}\.\d{1,3})(?=\s|$))?/.exec(text);
  if (match === null) return undefined;
  const code = Number(match[1]);
  const status = match[2]?.startsWith(text.charAt(0)) ? parseEnhancedStatus(match[2]) : undefined;
  return status === undefined ? { code, text } : { code, status, text };
}
