/** Replies to SMTP commands, and how what a client said may be repeated in them. */

/**
 * A whole reply as it goes on the wire, enhanced status code included, without the last CRLF.
 *
 * smtp-server's own enhanced codes are switched off: it puts them before ours. Source: RFC 5321 §4.2; RFC 2034.
 */
export type Reply = string;

/** 4xx or 5xx. */
export function isFailure(reply: Reply): boolean {
  return reply.startsWith("4") || reply.startsWith("5");
}

/** The first three digits. */
export function replyCode(reply: Reply): string {
  return reply.slice(0, 3);
}

const longestEcho = 256;

/** Text from a client that may stand in a reply or a log line: no control characters, nothing but ASCII. */
export function printable(text: string): string {
  return text.slice(0, longestEcho).replaceAll(/[^\u0020-\u007E]/g, "?");
}

/** Permanent refusals made temporary. Source: postconf(5) soft_bounce; spec V25. */
export function softened(reply: Reply): Reply {
  return reply.replace(/^5(\d\d[ -])(?:5(\.))?/, (_, digits: string, dot?: string) =>
    dot === undefined ? `4${digits}` : `4${digits}4${dot}`,
  );
}
