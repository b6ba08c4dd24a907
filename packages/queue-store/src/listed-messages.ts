/**
 * Messages as listings, searches and operators see them, read by id: a page at a time, in scripts that end when they have
 * looked at enough, since one message may have 100 000 recipients.
 *
 * A message travels as one text, its fields and the recipients' apart by control characters that no stored text contains:
 * as a list of texts it took the reader half as long again (scripts/bench-listing.ts).
 *
 * Source: spec admin-tools.md §1; DESIGN §3.
 */
import type { Redis } from "ioredis";
import { isMessageQueue } from "@postmq/vocabulary";
import type { QueueId, StoredRecipient } from "@postmq/vocabulary";
import { reportKinds } from "./contract.ts";
import type { ListedMessage } from "./contract.ts";
import type { InstanceKeys } from "./instance-keys.ts";
import { checkedId, parseEnvelope, unpackNumber, unpackRecipient, unpackTotal } from "./packing.ts";
import { allReported, asArray, asNumber, asRecipients, asText } from "./script-reply.ts";
import { loadScript } from "./script.ts";
import { runInstanceScript } from "./store-script.ts";

const readMessages = loadScript("read-messages");
const readRecipients = loadScript("read-recipients");
/** Recipients that come with a message. */
const mostRecipients = 1000;
/** Fields of records that one script looks at: some milliseconds of Redis. */
const budgetPerScript = 2000;
const recipientsPerScript = 1000;
/** What stands before the recipients. */
const fieldsOfMessage = 18;
const fieldEnd = "\u0001";

/** The messages of those ids that are there, in that order, each with its first 1 000 recipients that are not done. */
export async function readListed(
  redis: Redis,
  keys: InstanceKeys,
  ids: readonly string[],
): Promise<readonly ListedMessage[]> {
  const messages: ListedMessage[] = [];
  for await (const step of readListedSteps(redis, keys, ids)) messages.push(...step.messages);
  return messages;
}

/**
 * The same, for those who may have enough before the end.
 *
 * @yields what one script has read: of so many ids, some of which may be gone
 */
export async function* readListedSteps(
  redis: Redis,
  keys: InstanceKeys,
  ids: readonly string[],
): AsyncGenerator<{ messages: readonly ListedMessage[]; ids: number }, void, void> {
  for (let from = 0; from < ids.length;) {
    const messages: ListedMessage[] = [];
    const some = ids.slice(from);
    const reply = asArray(
      await runInstanceScript(redis, keys.prefix, {
        script: readMessages,
        keys: some.map((id) => keys.record(id)),
        args: [budgetPerScript, ...some],
      }),
    );
    for (const entry of reply) {
      const message = unpackListed(asText(entry));
      if (message !== undefined) messages.push(await withRecipients(redis, keys, message));
    }
    yield { messages, ids: reply.length };
    from += reply.length;
  }
}

/** Recipients that are not done, from a number on, in pages. */
export async function* readUndone(
  redis: Redis,
  keys: InstanceKeys,
  id: QueueId,
  from: number,
): AsyncGenerator<readonly StoredRecipient[], void, void> {
  for (let number = from; ;) {
    const reply = asArray(
      await runInstanceScript(redis, keys.prefix, {
        script: readRecipients,
        keys: [keys.record(id)],
        args: [id, number, recipientsPerScript, "undone"],
      }),
    );
    const next = asNumber(reply[0]);
    const recipients = asRecipients(reply[1], allReported);
    if (recipients.length > 0) yield recipients;
    // It ends where nothing is left to look at, or the message is gone.
    if (next <= number) return;
    number = next;
  }
}

/** The script looks into a record only; further recipients stand beside it. */
async function withRecipients(
  redis: Redis,
  keys: InstanceKeys,
  message: ListedMessage,
): Promise<ListedMessage> {
  const { recipients, undoneRecipients, totalRecipients } = message;
  const isWhole = recipients.length >= Math.min(mostRecipients, undoneRecipients);
  if (isWhole || totalRecipients <= mostRecipients) return message;
  const more = [...recipients];
  for await (const page of readUndone(redis, keys, message.id, mostRecipients)) {
    more.push(...page);
    if (more.length >= mostRecipients) break;
  }
  return { ...message, recipients: more.slice(0, mostRecipients) };
}

/** @param text "" for one that is gone; "id, unreadable, why"; else what read-messages says, recipients last */
function unpackListed(text: string): ListedMessage | undefined {
  const fields = text.split(fieldEnd);
  const id = checkedId(fields[0]);
  if (id === undefined) return undefined;
  const [
    ,
    queue = "",
    arrival = "",
    created = "",
    size = "",
    envelope = "",
    expired,
    attempts = "",
    last = "",
    due = "",
    undone = "",
    total = "",
    why = "",
    owed,
    surplus,
    generation = "",
    contentId = "",
    chunks = "",
  ] = fields;
  if (!isMessageQueue(queue)) return unreadableMessage(id, arrival);
  const owedReport = owed === "" ? undefined : reportKinds.find((kind) => kind === owed);
  try {
    const sizeBytes = unpackNumber(size);
    return {
      id,
      queue,
      generation: unpackNumber(generation),
      arrivalMs: unpackNumber(arrival),
      createdMs: unpackNumber(created),
      sizeBytes,
      content: { contentId, sizeBytes, chunks: unpackNumber(chunks) },
      envelope: parseEnvelope(envelope),
      isForceExpired: expired === "1",
      attempts: unpackNumber(attempts),
      ...(last === "" ? {} : { lastAttemptMs: unpackNumber(last) }),
      ...(due === "" ? {} : { dueMs: unpackNumber(due) }),
      recipients: recipientsIn(fields),
      undoneRecipients: unpackNumber(undone),
      totalRecipients: unpackTotal(total),
      ...(why === "" ? {} : { corruptReason: why }),
      ...(owedReport === undefined ? {} : { owedReport }),
      isSurplus: queue === "deferred" && surplus === "1",
    };
  } catch {
    // Rubbish in a record must not end a listing: it shows as what it is.
    return unreadableMessage(id, why === "" ? "unreadable record" : why);
  }
}

/** Number, value and state of each, behind the message's own fields. */
function recipientsIn(fields: readonly string[]): readonly StoredRecipient[] {
  const recipients: StoredRecipient[] = [];
  for (let at = fieldsOfMessage; at + 2 < fields.length; at += 3) {
    const [number, value = "", state = ""] = [fields[at], fields[at + 1], fields[at + 2]];
    recipients.push(unpackRecipient(Number(number), value, state, allReported));
  }
  return recipients;
}

const unknownEnvelope = { sender: "", origin: "smtp" } as const;

function unreadableMessage(id: QueueId, reason: string): ListedMessage {
  return {
    id,
    queue: "corrupt",
    generation: 0,
    arrivalMs: 0,
    createdMs: 0,
    sizeBytes: 0,
    content: { contentId: id, sizeBytes: 0, chunks: 0 },
    envelope: unknownEnvelope,
    isForceExpired: false,
    attempts: 0,
    recipients: [],
    undoneRecipients: 0,
    totalRecipients: 0,
    corruptReason: reason,
    isSurplus: false,
  };
}
