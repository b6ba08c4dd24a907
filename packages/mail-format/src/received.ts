/**
 * The trace header that each hop puts on top of a message.
 *
 * Source: spec V9; RFC 5321 §4.4; Postfix src/smtpd/smtpd.c, src/pickup/pickup.c.
 */
import type { ClientAttributes, QueueId } from "@postmq/vocabulary";
import { formatMailDate } from "./mail-date.ts";

export type ReceivedTrace = {
  /** Who handed the message in. A user id instead of a name means local submission. */
  readonly client?: ClientAttributes;
  /** Our name: myhostname. */
  readonly by: string;
  /** What this software calls itself: mail_name. */
  readonly mailName: string;
  readonly id: QueueId;
  /** The only recipient, if there is exactly one. */
  readonly soleRecipient?: string;
  readonly atMs: number;
};

/** The whole header with CRLF line ends. Hostile characters in what the client said of itself become '?'. */
export function formatReceived(trace: ReceivedTrace): string {
  const client = trace.client;
  const date = formatMailDate(trace.atMs);
  if (client === undefined || client.address === "") {
    const user = client?.uid === undefined ? "" : `, from userid ${client.uid}`;
    return `Received: by ${trace.by} (${trace.mailName}${user})\r\n\tid ${trace.id}; ${date}\r\n`;
  }
  const name = harmless(client.name === "" ? "unknown" : client.name);
  const address = harmless(
    client.address.includes(":") ? `IPv6:${client.address}` : client.address,
  );
  const helo = harmless(client.helo === undefined || client.helo === "" ? name : client.helo);
  const recipient =
    trace.soleRecipient === undefined ? "" : `\r\n\tfor <${oneLine(trace.soleRecipient)}>`;
  return (
    `Received: from ${helo} (${name} [${address}])\r\n` +
    `\tby ${trace.by} (${trace.mailName}) with ${harmless(client.protocol)} id ${trace.id}${recipient}; ${date}\r\n`
  );
}

/** As Postfix's smtpd neuters HELO: what could end or nest a comment, or open another field, becomes '?'. */
function harmless(text: string): string {
  return text.slice(0, 255).replaceAll(/[^\u0021-\u007E]|[<>()\\";@]/g, "?");
}

function oneLine(text: string): string {
  return text.replaceAll(/\p{Cc}/gu, "?");
}
