/**
 * Adds Message-Id, Date and From where they are missing, in their Resent- variant if any Resent- header is present.
 *
 * Only mail of local context gets them: a message that passes through is left as its author signed it. A header that
 * is about to be dropped still counts as present. Sender is never added. `undisclosed_recipients_header`, if set, is
 * added to a message without To and Cc.
 *
 * Source: spec R5, R6, R4; queues.md §6 (form of Message-Id); Postfix src/cleanup/cleanup_message.c.
 */
import { formatMailDate } from "@postmq/mail-format";
import { queueIdTimeUs } from "@postmq/vocabulary";
import type { QueueId } from "@postmq/vocabulary";
import type { Draft, RewritingParameters } from "./cleaning.ts";
import { hasResentHeaders } from "./resent-headers.ts";

const visibleRecipientHeaders = new Set(["to", "cc", "resent-to", "resent-cc"]);

export function addMissingHeaders(draft: Draft): Draft {
  const { input } = draft;
  const present = draft.received.find((header) => header.name === "message-id")?.value() ?? "<>";
  if (input.context === "remote") return { ...draft, messageId: present };
  const prefix = hasResentHeaders(draft.received) ? "Resent-" : "";
  const isMissing = (name: string) => {
    const wanted = (prefix + name).toLowerCase();
    return !draft.received.some((header) => header.name === wanted);
  };
  const added = isMissing("Message-Id")
    ? newMessageId(input.id, input.arrivalMs, input.parameters)
    : undefined;
  const appended =
    (added === undefined ? "" : `${prefix}Message-Id: ${added}\r\n`) +
    (isMissing("Date") ? `${prefix}Date: ${formatMailDate(input.arrivalMs)}\r\n` : "") +
    (isMissing("From") ? `${prefix}From: ${fromValue(draft)}\r\n` : "") +
    undisclosedRecipients(draft);
  return {
    ...draft,
    appended: draft.appended + appended,
    messageId: prefix === "" ? (added ?? present) : present,
  };
}

function undisclosedRecipients(draft: Draft): string {
  const header = draft.input.parameters.undisclosed_recipients_header;
  if (header === "" || draft.received.some((one) => visibleRecipientHeaders.has(one.name)))
    return "";
  return `${header}\r\n`;
}

/** A long queue id is unique for ever; one of another form needs the time in front. Source: queues.md §6. */
function newMessageId(id: QueueId, arrivalMs: number, parameters: RewritingParameters): string {
  if (queueIdTimeUs(id) !== undefined) return `<${id}@${parameters.myhostname}>`;
  const time = new Date(arrivalMs)
    .toISOString()
    .replaceAll(/\D/g, "")
    .slice(0, "YYYYMMDDHHMMSS".length);
  return `<${time}.${id}@${parameters.myhostname}>`;
}

function fromValue(draft: Draft): string {
  const { sender, fullName } = draft.envelope;
  if (sender === "") return `MAILER-DAEMON@${draft.input.parameters.myorigin}`;
  const name = (fullName ?? "").replaceAll(/\p{Cc}+/gu, " ").trim();
  return name === "" ? sender : `${phrase(name)} <${sender}>`;
}

/** A display name: as it is, in quotes, or encoded, whichever it needs. Source: RFC 5322 §3.2.5; RFC 2047 §5 (3). */
function phrase(name: string): string {
  if (/^[\w!#$%&'*+/=?^`{|}~ -]+$/.test(name)) return name;
  if (/^[ -~]*$/.test(name)) return `"${name.replaceAll(/["\\]/g, String.raw`\$&`)}"`;
  return encodedWords(name);
}

/** At most 45 bytes of UTF-8 a word, cut between characters: 60 characters in base 64, 72 in all of the 75 allowed. */
function encodedWords(text: string): string {
  const words: string[] = [];
  let word = "";
  for (const character of text.toWellFormed()) {
    if (Buffer.byteLength(word + character) > 45) {
      words.push(word);
      word = "";
    }
    word += character;
  }
  return [...words, word]
    .map((part) => `=?UTF-8?B?${Buffer.from(part).toString("base64")}?=`)
    .join("\r\n ");
}
