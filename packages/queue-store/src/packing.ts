/**
 * How recipients, their states, domain summaries and requests are written in records: pure, both ways.
 *
 * The forms are those that lua/include/records.lua documents; `\n` separates because no address, status or reason may
 * contain one (control characters are replaced here, so that a hostile remote reply can't forge a field).
 */
import {
  countedDomain,
  notifyConditions,
  parseEnhancedStatus,
  parseQueueId,
  PostmqError,
  successActions,
} from "@postmq/vocabulary";
import type {
  EnhancedStatus,
  Envelope,
  NotifyCondition,
  QueueId,
  Recipient,
  RecipientOutcome,
  RecipientState,
  RemoteReply,
  RequestState,
  StoredRecipient,
} from "@postmq/vocabulary";
import type { NewRecipient, OpenRequest } from "./contract.ts";

/** Recipients per chunk; the first chunk stands in the record itself. */
export const recipientsPerChunk = 1000;
/** A record that counts more is damaged, as lua/include/base.lua has it. */
const mostRecipientNumbers = 2_000_000;
/** A message of more recipient domains keeps its counts in a key of its own (DESIGN §3). */
export const largeMessageDomains = 1000;
/** Of a server's reply in a timeline. */
const longestReplyTold = 200;

/** Control characters of ASCII, which are what is neither printable there nor beyond, become question marks. */
function oneLine(text: string): string {
  return text.replaceAll(/[^ -~\u0080-\uffff]/g, "?");
}

/** The domain as Lua's string.lower would find it, without help. */
function plainDomain(address: string): string {
  const at = address.lastIndexOf("@");
  const domain = at < 0 ? address : address.slice(at + 1);
  return domain.replaceAll(/[A-Z]+/g, (letters) => letters.toLowerCase());
}

export function packRecipient(recipient: Recipient): string {
  const domain = countedDomain(recipient.address);
  const parts = [
    oneLine(recipient.address),
    domain === plainDomain(recipient.address) ? "" : oneLine(domain),
    oneLine(recipient.original ?? ""),
    oneLine(recipient.orcpt ?? ""),
    (recipient.notify ?? []).join(","),
  ];
  while (parts.length > 1 && parts.at(-1) === "") parts.pop();
  return parts.join("\n");
}

function isNotify(text: string): text is NotifyCondition {
  return notifyConditions.some((condition) => condition === text);
}

export function unpackRecipient(
  number: number,
  text: string,
  state: string,
  rounds: ReportRounds,
): StoredRecipient {
  const [address = "", , original = "", orcpt = "", notify = ""] = text.split("\n");
  return {
    number,
    address,
    ...(original === "" ? {} : { original }),
    ...(orcpt === "" ? {} : { orcpt }),
    ...(notify === "" ? {} : { notify: notify.split(",").filter(isNotify) }),
    state: unpackState(state, rounds),
  };
}

type StateText = {
  readonly status: EnhancedStatus;
  readonly reason: string;
  readonly remote?: RemoteReply;
};

/** What follows the kind in a state: status, reason and the remote's reply. */
export function packStateText(outcome: StateText): string {
  const remote = outcome.remote === undefined ? "" : JSON.stringify(outcome.remote);
  return `${outcome.status}\n${oneLine(outcome.reason)}\n${remote}`;
}

/** Number, kind (`s` sent, `t` deferred, `f` failed), state text and the timeline's words, as the scripts take them. */
export function outcomeArguments(
  outcome: RecipientOutcome,
): readonly [string, string, string, string] {
  const number = String(outcome.recipient);
  const relay = relayText(outcome);
  if (outcome.kind === "sent") {
    const { owesReport, status, reason } = outcome;
    return [
      number,
      "s",
      owesReport === undefined ? "" : `${packStateText(outcome)}\n${owesReport}`,
      `${status}\t${relay}\t${oneLine(reason.slice(0, longestReplyTold))}`,
    ];
  }
  return [number, outcome.kind === "deferred" ? "t" : "f", packStateText(outcome), relay];
}

/** As Postfix logs it: `mx.example.com[192.0.2.1]:25`. */
function relayText({ remote }: RecipientOutcome): string {
  if (remote === undefined) return "";
  return oneLine(`${remote.host}[${remote.address}]:${remote.port}`);
}

/** A record's rounds of reports: what failed, or was sent, in an earlier one is reported. */
export type ReportRounds = { readonly failures: number; readonly successes: number };

export function unpackState(text: string, rounds: ReportRounds): RecipientState {
  if (text === "") return { kind: "todo" };
  const [kind = "", status = "", reason = "", remote = "", action = ""] = text.split("\n");
  if (kind === "d") return { kind: "done" };
  const [letter, round] = [kind.slice(0, 1), Number(kind.slice(1))];
  if (letter === "f" && round < rounds.failures) return { kind: "done" };
  if (letter === "s" && round < rounds.successes) return { kind: "done" };
  const told = {
    status: parseEnhancedStatus(status) ?? unreadable(`status ${status}`),
    reason,
    ...(remote === "" ? {} : { remote: parseJson(remote) as RemoteReply }),
  };
  if (letter === "s") {
    const known = successActions.find((one) => one === action);
    return { kind: "sent", action: known ?? unreadable(`action ${action}`), ...told };
  }
  return { kind: letter === "f" ? "failed" : "deferred", ...told };
}

function unreadable(what: string): never {
  throw new PostmqError("PMQ_MESSAGE_UNREADABLE", `unreadable record: ${what}`);
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new PostmqError("PMQ_MESSAGE_UNREADABLE", "unreadable record: bad JSON", {
      cause: error,
    });
  }
}

/**
 * A number as a record keeps it; times carry fractions of a millisecond.
 *
 * @throws PMQ_MESSAGE_UNREADABLE
 */
export function unpackNumber(text: string): number {
  return /^\d{1,16}(?:\.\d+)?$/.test(text) ? Number(text) : unreadable("no number");
}

/**
 * Recipients in all.
 *
 * @throws PMQ_MESSAGE_UNREADABLE: more than a walk over them could end with
 */
export function unpackTotal(text: string): number {
  const total = unpackNumber(text);
  return total <= mostRecipientNumbers ? total : unreadable("number of recipients");
}

/** @throws PMQ_MESSAGE_UNREADABLE */
export function parseEnvelope(text: string): Envelope {
  const envelope = parseJson(text) as Envelope;
  if (typeof envelope !== "object" || envelope === null || typeof envelope.sender !== "string") {
    unreadable("envelope");
  }
  return envelope;
}

/** Undone recipients by domain. */
export function countDomains(recipients: readonly NewRecipient[]): ReadonlyMap<string, number> {
  const counts = new Map<string, number>();
  for (const recipient of recipients) {
    if (recipient.failed !== undefined || recipient.sent !== undefined) continue;
    const domain = oneLine(countedDomain(recipient.address));
    counts.set(domain, (counts.get(domain) ?? 0) + 1);
  }
  return counts;
}

export function packDomains(counts: ReadonlyMap<string, number>): string {
  return [...counts].flat().join("\n");
}

/** Recipient numbers as "0-4,7". */
export function packNumbers(numbers: readonly number[]): string {
  const parts: string[] = [];
  for (let i = 0; i < numbers.length;) {
    const from = numbers[i] ?? 0;
    let to = from;
    i += 1;
    while (numbers[i] === to + 1) {
      to += 1;
      i += 1;
    }
    parts.push(from === to ? String(from) : `${from}-${to}`);
  }
  return parts.join(",");
}

export function unpackNumbers(text: string): readonly number[] {
  return text.split(",").flatMap((part) => {
    const [from = "", to = from] = part.split("-");
    return Array.from({ length: Number(to) - Number(from) + 1 }, (_, i) => Number(from) + i);
  });
}

const stateLetters: Readonly<Record<string, RequestState>> = {
  q: "queued",
  c: "claimed",
  d: "dotSent",
};

export function unpackRequest(id: QueueId, number: number, text: string): OpenRequest | undefined {
  if (text === "") return undefined;
  const [
    generation = "",
    letter = "",
    claim = "",
    transport = "",
    nexthop = "",
    recipients = "",
    site = "",
  ] = text.split("\n");
  return {
    name: { id, number, generation: Number(generation) },
    state: stateLetters[letter] ?? unreadable("request"),
    destination: { transport, nexthop, ...(site === "" ? {} : { site }) },
    recipients: unpackNumbers(recipients),
    claim,
  };
}

/** An id from a job or an index; undefined when somebody wrote rubbish there. */
export function checkedId(value: unknown): QueueId | undefined {
  return typeof value === "string" ? parseQueueId(value) : undefined;
}
