/**
 * What a mail system tells of a message, one function per event: the line that Postfix would log, or its fields for a
 * log that wants those.
 *
 * Services call these instead of composing lines, so that each event is told in one place and one shape, and
 * pflogsumm and log exporters keep working.
 *
 * Source: spec delivery.md §8, queues.md §3 (2, 7, 8); Postfix src/global/log_adhoc.c, src/qmgr/qmgr_message.c,
 * src/smtpd/smtpd.c, src/cleanup/cleanup_message.c, src/bounce.
 */
import type { QueueId } from "@postmq/vocabulary";
import { delaySpans, formatDelay, formatDelays } from "./delays.ts";
import type { DeliveryDelaysMs } from "./delays.ts";
import type { Log } from "./log.ts";

/** What became of a recipient in one attempt, in Postfix's words. */
export type LoggedStatus =
  | "sent"
  | "deferred"
  | "bounced"
  | "SOFTBOUNCE"
  | "expired"
  | "undeliverable";

export type LoggedDelivery = {
  readonly id: QueueId;
  readonly recipient: string;
  /** The address before rewriting; logged when it differs otherwise than in case. */
  readonly originalRecipient?: string | undefined;
  /** HOST[IP]:PORT, or absent: no server was reached. */
  readonly relay?: string | undefined;
  /** How many deliveries this connection has made, this one included; logged from 2 on. */
  readonly connectionUses?: number | undefined;
  readonly delays: DeliveryDelaysMs;
  readonly dsn: string;
  readonly status: LoggedStatus;
  /** The remote reply, or the reason. */
  readonly text: string;
  /** Parameter delay_logging_resolution_limit. */
  readonly delayDecimals: number;
};

/** One recipient in one attempt. */
export function logDelivery(log: Log, event: LoggedDelivery): void {
  const original = event.originalRecipient;
  const hasOriginal =
    original !== undefined &&
    original !== "" &&
    original.toLowerCase() !== event.recipient.toLowerCase();
  const uses = event.connectionUses ?? 1;
  if (log.record !== undefined) {
    const seconds = (ms: number) => Number(formatDelay(ms, event.delayDecimals));
    const { total, spans } = delaySpans(event.delays);
    log.record(
      {
        event: "delivery",
        to: event.recipient,
        orig_to: hasOriginal ? original : undefined,
        relay: event.relay ?? "none",
        conn_use: uses > 1 ? uses : undefined,
        delay: seconds(total),
        delays: spans.map(seconds),
        dsn: event.dsn,
        status: event.status,
        reason: event.text,
      },
      event.id,
    );
    return;
  }
  const parts = [
    `to=<${event.recipient}>`,
    ...(hasOriginal ? [`orig_to=<${original}>`] : []),
    `relay=${event.relay ?? "none"}`,
    ...(uses > 1 ? [`conn_use=${uses}`] : []),
    formatDelays(event.delays, event.delayDecimals),
    `dsn=${event.dsn}`,
    `status=${event.status} (${event.text})`,
  ];
  log.info(parts.join(", "), event.id);
}

/** qmgr opened a message. Recipients: those not yet done. */
export function logQueueActive(
  log: Log,
  event: {
    readonly id: QueueId;
    readonly sender: string;
    readonly sizeBytes: number;
    readonly recipients: number;
  },
): void {
  const { id, sender, sizeBytes, recipients } = event;
  if (log.record !== undefined) {
    log.record({ event: "queue active", from: sender, size: sizeBytes, nrcpt: recipients }, id);
    return;
  }
  log.info(`from=<${sender}>, size=${sizeBytes}, nrcpt=${recipients} (queue active)`, id);
}

/** Nothing is left to do for the message. */
export function logRemoved(log: Log, id: QueueId): void {
  if (log.record === undefined) log.info("removed", id);
  else log.record({ event: "removed" }, id);
}

/** The message was too old (or made to expire) and goes back to its sender. */
export function logExpired(
  log: Log,
  event: { readonly id: QueueId; readonly sender: string; readonly isForced?: boolean },
): void {
  const status = event.isForced === true ? "force-expired" : "expired";
  if (log.record === undefined) {
    log.info(`from=<${event.sender}>, status=${status}, returned to sender`, event.id);
  } else log.record({ event: "expired", from: event.sender, status }, event.id);
}

/** cleanup knows the message's Message-ID, with its angle brackets. */
export function logMessageId(log: Log, id: QueueId, messageId: string): void {
  if (log.record === undefined) log.info(`message-id=${messageId}`, id);
  else log.record({ event: "message-id", message_id: messageId }, id);
}

/** A client as Postfix names it: `name[address]`, `unknown` when it has no name. */
export type LoggedClient = { readonly name: string; readonly address: string };

function clientText(client: LoggedClient): string {
  return `${client.name === "" ? "unknown" : client.name}[${client.address}]`;
}

export function logConnect(log: Log, client: LoggedClient): void {
  if (log.record === undefined) log.info(`connect from ${clientText(client)}`);
  else log.record({ event: "connect", client: clientText(client) });
}

/** `counts`: commands in the session as accepted/all, e.g. ehlo=1 mail=1 rcpt=0/1. */
export function logDisconnect(
  log: Log,
  client: LoggedClient,
  counts: ReadonlyMap<string, { readonly accepted: number; readonly all: number }> = new Map(),
): void {
  if (log.record !== undefined) {
    const commands = [...counts].flatMap(([name, { accepted, all }]) =>
      accepted === all
        ? [[name, accepted] as const]
        : [[name, accepted] as const, [`${name}_refused`, all - accepted] as const],
    );
    log.record({
      event: "disconnect",
      client: clientText(client),
      ...Object.fromEntries(commands),
    });
    return;
  }
  const shown = [...counts].filter(([, count]) => count.all > 0);
  const total = shown.reduce(
    (sum, [, count]) => ({ accepted: sum.accepted + count.accepted, all: sum.all + count.all }),
    { accepted: 0, all: 0 },
  );
  const text = [...shown, ["commands", total] as const].map(
    ([name, { accepted, all }]) =>
      ` ${name}=${accepted === all ? String(all) : `${accepted}/${all}`}`,
  );
  log.info(`disconnect from ${clientText(client)}${text.join("")}`);
}

/** The connection ended amid a session. `after`: the last command's name. */
export function logLostConnection(
  log: Log,
  client: LoggedClient,
  event: { readonly after: string; readonly how: "lost connection" | "timeout" },
): void {
  const { how, after } = event;
  if (log.record === undefined) log.info(`${how} after ${after} from ${clientText(client)}`);
  else log.record({ event: how, after, client: clientText(client) });
}

/** smtpd took a message (or its first recipient) from a client. */
export function logClient(
  log: Log,
  id: QueueId,
  client: LoggedClient & {
    readonly saslMethod?: string | undefined;
    readonly saslUsername?: string | undefined;
  },
): void {
  if (log.record !== undefined) {
    const { saslMethod, saslUsername } = client;
    const facts = { sasl_method: saslMethod, sasl_username: saslUsername };
    log.record({ event: "client", client: clientText(client), ...facts }, id);
    return;
  }
  const sasl =
    client.saslMethod === undefined
      ? ""
      : `, sasl_method=${client.saslMethod}, sasl_username=${client.saslUsername ?? ""}`;
  log.info(`client=${clientText(client)}${sasl}`, id);
}

/**
 * A message that did not come by SMTP was taken up. Postfix's pickup says so, and so do we in its name, whichever
 * service does it: log readers count these lines, and those of smtpd, as mail received.
 */
export function logPickup(
  log: Log,
  id: QueueId,
  event: { readonly uid: number | undefined; readonly sender: string },
): void {
  const { uid, sender } = event;
  const named = log.inNameOf?.("pickup") ?? log;
  if (named.record === undefined) named.info(`uid=${uid ?? "unknown"} from=<${sender}>`, id);
  else named.record({ event: "pickup", uid, from: sender }, id);
}

/** smtpd refused a command. `id` is absent before a message has one. */
export function logReject(
  log: Log,
  event: {
    readonly id?: QueueId | undefined;
    readonly command: string;
    readonly client: LoggedClient;
    /** The reply as sent, code first. */
    readonly reply: string;
    readonly sender?: string | undefined;
    readonly recipient?: string | undefined;
    readonly protocol: string;
    readonly helo?: string | undefined;
  },
): void {
  if (log.record !== undefined) {
    log.record(
      {
        event: "reject",
        command: event.command,
        client: clientText(event.client),
        reply: event.reply,
        from: event.sender,
        to: event.recipient,
        proto: event.protocol,
        helo: event.helo,
      },
      event.id,
    );
    return;
  }
  const facts = [
    ...(event.sender === undefined ? [] : [`from=<${event.sender}>`]),
    ...(event.recipient === undefined ? [] : [`to=<${event.recipient}>`]),
    `proto=${event.protocol}`,
    ...(event.helo === undefined ? [] : [`helo=<${event.helo}>`]),
  ];
  const noQueue = event.id === undefined ? "NOQUEUE: " : "";
  log.info(
    `${noQueue}reject: ${event.command} from ${clientText(event.client)}: ${event.reply}; ${facts.join(" ")}`,
    event.id,
  );
}

/** bounce queued a report about a message, or a notice to the postmaster. */
export function logNotification(
  log: Log,
  event: {
    readonly id: QueueId;
    readonly to: "sender" | "postmaster";
    readonly kind: "non-delivery" | "delay" | "delivery status";
    readonly reportId: QueueId;
  },
): void {
  const { id, to, kind, reportId } = event;
  if (log.record === undefined) log.info(`${to} ${kind} notification: ${reportId}`, id);
  else log.record({ event: "notification", notified: to, kind, report: reportId }, id);
}
