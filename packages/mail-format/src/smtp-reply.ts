/** What an SMTP server said. Source: spec D7; RFC 5321 §4.2; RFC 2034 §4; Postfix src/smtp/smtp_chat.c smtp_chat_resp. */
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

/**
 * A reply as it was received, of one or more lines.
 *
 * Where its lines disagree, the last one counts, as in Postfix: lines before it are text, whatever code they carry. A code
 * ends with a blank, a dash or the line. undefined: the last line starts with no code from 200 to 599.
 */
export function parseReplyText(reply: string): SmtpReply | undefined {
  return plainReply(reply) ?? anyReply(reply);
}

/** Nearly all replies: one line of printable ASCII, no blank at its end. */
function plainReply(reply: string): SmtpReply | undefined {
  const match = /^([2-5]\d\d) (?![ -])(?:([245]\.\d{1,3}\.\d{1,3})(?: |$))?[ -~]*$/.exec(reply);
  if (match === null || reply.length > longestText || reply.endsWith(" ")) return undefined;
  return facts(match, reply.charAt(0), reply);
}

function anyReply(reply: string): SmtpReply | undefined {
  const last = reply.slice(reply.trimEnd().lastIndexOf("\n") + 1).trimStart();
  const match = /^([2-5]\d\d)(?=[\s-]|$)(?:[ -]+([245]\.\d{1,3}\.\d{1,3})(?=\s|$))?/.exec(last);
  if (match === null) return undefined;
  const text = reply
    .slice(0, longestText)
    .trim()
    .replaceAll(/\s*\r?\n\s*/g, " ")
    .replaceAll(/\p{Cc}/gu, "?");
  return facts(match, last.charAt(0), text);
}

/** @param match code and status as they were found */
function facts(match: RegExpExecArray, digit: string, text: string): SmtpReply {
  const code = Number(match[1]);
  const status = match[2]?.startsWith(digit) ? parseEnhancedStatus(match[2]) : undefined;
  return status === undefined ? { code, text } : { code, status, text };
}
