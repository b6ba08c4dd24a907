/**
 * The first line of a dropped file: what the message says of itself besides its content.
 *
 * One line of JSON, then the content's bytes, exactly as many as the line says and with the SHA-256 it says, so that a
 * torn or altered file is seen. Whoever can write into the drop directory can write anything here: what is read is
 * checked member by member, unknown members are refused, and only what a local submission may say is taken over.
 *
 * Source: spec queues.md §2, §3.1; security.md 3, 8, 9.
 */
import { notifyConditions, parseQueueId, PostmqError } from "@postmq/vocabulary";
import type { Envelope, NotifyCondition, QueueId, Recipient } from "@postmq/vocabulary";

/** A message as `sendmail` hands it in while the store can't be reached. */
export type DroppedMessage = {
  /** Chosen by `sendmail`; the message keeps it. */
  readonly id: QueueId;
  readonly arrivalMs: number;
  readonly envelope: Envelope;
  readonly recipients: readonly Recipient[];
};

export type DropHeader = {
  readonly message: DroppedMessage;
  readonly contentBytes: number;
  /** In hex. */
  readonly contentSha256: string;
};

const format = "postmq-drop-1";
const longestText = 4096;

export function formatDropHeader({ message, contentBytes, contentSha256 }: DropHeader): Buffer {
  const { id, arrivalMs, envelope, recipients } = message;
  const { origin: _origin, client, ...said } = envelope;
  const uid = client?.uid === undefined ? {} : { uid: client.uid };
  const line = { format, id, arrivalMs, envelope: { ...said, ...uid }, recipients };
  return Buffer.from(`${JSON.stringify({ ...line, contentBytes, contentSha256 })}\n`);
}

/** @throws PMQ_MESSAGE_UNREADABLE naming what is wrong with the line */
export function parseDropHeader(line: string): DropHeader {
  const header = members(parseJson(line), "header", [
    "format",
    "id",
    "arrivalMs",
    "envelope",
    "recipients",
    "contentBytes",
    "contentSha256",
  ]);
  if (header["format"] !== format) throw unreadable("unknown format");
  const id = typeof header["id"] === "string" ? parseQueueId(header["id"]) : undefined;
  if (id === undefined) throw unreadable("bad queue id");
  const sha256 = text(header["contentSha256"], "contentSha256");
  if (!/^[0-9a-f]{64}$/.test(sha256)) throw unreadable("bad contentSha256");
  return {
    message: {
      id,
      arrivalMs: wholeNumber(header["arrivalMs"], "arrivalMs"),
      envelope: parseEnvelope(header["envelope"]),
      recipients: parseRecipients(header["recipients"]),
    },
    contentBytes: wholeNumber(header["contentBytes"], "contentBytes"),
    contentSha256: sha256,
  };
}

/** An error that says why a dropped file can't be taken in. */
export function unreadable(reason: string, cause?: unknown): PostmqError {
  return new PostmqError("PMQ_MESSAGE_UNREADABLE", reason, cause === undefined ? {} : { cause });
}

function parseEnvelope(value: unknown): Envelope {
  const said = members(value, "envelope", [
    "sender",
    "fullName",
    "encoding",
    "smtputf8",
    "envid",
    "ret",
    "verpDelimiters",
    "extractRecipients",
    "extractedNotify",
    "uid",
  ]);
  const { encoding, ret } = said;
  if (encoding !== undefined && encoding !== "7bit" && encoding !== "8bit") {
    throw unreadable("bad encoding");
  }
  if (ret !== undefined && ret !== "FULL" && ret !== "HDRS") throw unreadable("bad ret");
  const uid = said["uid"] === undefined ? {} : { uid: wholeNumber(said["uid"], "uid") };
  return {
    sender: text(said["sender"], "sender"),
    origin: "sendmail",
    client: { name: "localhost", address: "", protocol: "", ...uid },
    ...(said["fullName"] === undefined ? {} : { fullName: text(said["fullName"], "fullName") }),
    ...(encoding === undefined ? {} : { encoding }),
    ...(isSet(said["smtputf8"], "smtputf8") ? { smtputf8: true } : {}),
    ...(said["envid"] === undefined ? {} : { envid: text(said["envid"], "envid") }),
    ...(ret === undefined ? {} : { ret }),
    ...(said["verpDelimiters"] === undefined
      ? {}
      : { verpDelimiters: text(said["verpDelimiters"], "verpDelimiters") }),
    ...(isSet(said["extractRecipients"], "extractRecipients") ? { extractRecipients: true } : {}),
    ...(said["extractedNotify"] === undefined
      ? {}
      : { extractedNotify: parseNotify(said["extractedNotify"]) }),
  };
}

function parseRecipients(value: unknown): readonly Recipient[] {
  if (!Array.isArray(value)) throw unreadable("recipients is not a list");
  return value.map((entry: unknown) => {
    const said = members(entry, "recipient", ["address", "original", "orcpt", "notify"]);
    return {
      address: text(said["address"], "address"),
      ...(said["original"] === undefined ? {} : { original: text(said["original"], "original") }),
      ...(said["orcpt"] === undefined ? {} : { orcpt: text(said["orcpt"], "orcpt") }),
      ...(said["notify"] === undefined ? {} : { notify: parseNotify(said["notify"]) }),
    };
  });
}

function parseNotify(value: unknown): readonly NotifyCondition[] {
  if (!Array.isArray(value)) throw unreadable("notify is not a list");
  return value.map(
    (entry: unknown) =>
      notifyConditions.find((condition) => condition === entry) ?? fail("bad notify condition"),
  );
}

function parseJson(line: string): unknown {
  try {
    return JSON.parse(line);
  } catch (cause) {
    throw unreadable("header is not JSON", cause);
  }
}

/** The own members of an object that has no others than those named. */
function members(
  value: unknown,
  what: string,
  names: readonly string[],
): Readonly<Record<string, unknown>> {
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw unreadable(`${what} is not an object`);
  }
  const entries = Object.entries(value);
  if (entries.some(([name]) => !names.includes(name)))
    throw unreadable(`unknown member in ${what}`);
  const own: Record<string, unknown> = Object.assign(
    Object.create(null),
    Object.fromEntries(entries),
  );
  return own;
}

/** A text without control characters. */
function text(value: unknown, what: string): string {
  const isText = typeof value === "string" && value.length <= longestText && value.isWellFormed();
  return isText && !/\p{Cc}/u.test(value) ? value : fail(`bad ${what}`);
}

function wholeNumber(value: unknown, what: string): number {
  const isWhole = typeof value === "number" && Number.isSafeInteger(value) && value >= 0;
  return isWhole ? value : fail(`bad ${what}`);
}

function isSet(value: unknown, what: string): boolean {
  if (value !== undefined && typeof value !== "boolean") throw unreadable(`bad ${what}`);
  return value === true;
}

function fail(reason: string): never {
  throw unreadable(reason);
}
