/**
 * What a server's reply means for recipients, and how it is told in logs and reports, in Postfix's words.
 *
 * Source: spec D7, D8, D9, delivery.md §8, §10; Postfix src/smtp/smtp_trouble.c, smtp_proto.c (xfer_states, xfer_request).
 */
import { parseReplyText } from "@postmq/mail-format";
import type { SmtpReply } from "@postmq/mail-format";
import { enhancedStatus, parseEnhancedStatus } from "@postmq/vocabulary";
import type { EnhancedStatus } from "@postmq/vocabulary";

/** Where a conversation is. `body` is the wait for the server's ear while content is written. */
export const stages = [
  "greeting",
  "ehlo",
  "lhlo",
  "starttls",
  "auth",
  "rset",
  "mail",
  "rcpt",
  "data",
  "body",
  "dot",
  "quit",
] as const;
export type Stage = (typeof stages)[number];

/** The verdict on a refused recipient: later is 4xx, never is 5xx or nonsense. */
export type Refusal = {
  readonly isPermanent: boolean;
  readonly status: EnhancedStatus;
  readonly reason: string;
};

/** Of a conversation that broke off. */
export const lostStatus = enhancedStatus("4.4.2");

/** What the server said, as a reply with a code; 0 when it spoke no SMTP. */
export function readReply(raw: string): SmtpReply {
  return parseReplyText(raw) ?? { code: 0, text: raw.slice(0, 512).replaceAll(/\p{Cc}+/gu, "?") };
}

export function isPositive(reply: SmtpReply): boolean {
  return reply.code >= 200 && reply.code < 300;
}

/** The status of a positive reply. */
export function sentStatus(reply: SmtpReply): EnhancedStatus {
  return reply.status ?? enhancedStatus("2.0.0");
}

/**
 * The verdict of a reply that is not the positive one that was hoped for.
 *
 * @param host name[address] of the server
 */
export function refusalOf(reply: SmtpReply, host: string, stage: Stage): Refusal {
  const said = `host ${host} said: ${reply.text} (in reply to ${commandNames[stage]})`;
  const digit = Math.floor(reply.code / 100);
  if (digit !== 4 && digit !== 5) {
    // What is no SMTP at all says nothing for good: Postfix would wait for a reply until the time is up.
    const isPermanent = reply.code !== 0;
    return {
      isPermanent,
      status: enhancedStatus(isPermanent ? "5.5.0" : "4.5.0"),
      reason: `Protocol error: ${said}`,
    };
  }
  const status = reply.status ?? enhancedStatus(`${digit}.0.0`);
  return { isPermanent: digit === 5, status, reason: said };
}

/** The verdict of a greeting, EHLO or HELO that turned us away; what is no SMTP counts as 4xx. */
export function turnedAway(reply: SmtpReply, host: string, isPermanent: boolean): Refusal {
  return {
    isPermanent,
    status: softened(reply, isPermanent),
    reason: `host ${host} refused to talk to me: ${reply.text}`,
  };
}

/** The status of a refusal that we take for permanent or not, whatever its first digit says. */
export function softened(reply: SmtpReply, isPermanent: boolean): EnhancedStatus {
  const digit = isPermanent ? "5" : "4";
  const status = reply.status ?? enhancedStatus(`${digit}.0.0`);
  return parseEnhancedStatus(`${digit}${status.slice(1)}`) ?? status;
}

/** Codes of a refusal after which a connection is not used again (D9). */
export function endsReuse(reply: SmtpReply): boolean {
  const { code } = reply;
  return code < 400 || code > 599 || (code >= 500 && code <= 509) || code === 555;
}

/** Why a conversation broke off. */
export function brokenReason(how: "lost" | "timedOut", host: string, stage: Stage): string {
  return how === "lost"
    ? `lost connection with ${host} while ${activities[stage]}`
    : `conversation with ${host} timed out while ${activities[stage]}`;
}

const activities: Readonly<Record<Stage, string>> = {
  greeting: "receiving the initial server greeting",
  ehlo: "performing the EHLO handshake",
  lhlo: "performing the LHLO handshake",
  starttls: "receiving the STARTTLS response",
  // Postfix has no other words for it.
  auth: "performing the EHLO handshake",
  rset: "sending RSET",
  mail: "sending MAIL FROM",
  rcpt: "sending RCPT TO",
  data: "sending DATA command",
  body: "sending message body",
  dot: "sending end of data -- message may be sent more than once",
  quit: "sending QUIT",
};

const commandNames: Readonly<Record<Stage, string>> = {
  greeting: "initial connection",
  ehlo: "EHLO command",
  lhlo: "LHLO command",
  starttls: "STARTTLS command",
  auth: "AUTH command",
  rset: "RSET command",
  mail: "MAIL FROM command",
  rcpt: "RCPT TO command",
  data: "DATA command",
  body: "end of DATA command",
  dot: "end of DATA command",
  quit: "QUIT command",
};
