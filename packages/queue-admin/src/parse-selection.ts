/**
 * Selections as people write them: parts with names and values, from a command line or the query of a request.
 *
 * What is not understood is refused with its name and value: a part that was passed over would make a selection larger
 * than it was meant to be. An empty value is refused too, since it is a shell's unset variable more often than the
 * null sender, which is written `<>`. A time without a unit is refused for the same reason.
 *
 * Source: spec http-api.md §2, sendmail-queue.md §5, §7.
 */
import { parseSmtpPath } from "@postmq/mail-format";
import {
  countedDomain,
  isMessageQueue,
  messageQueues,
  parseDurationMs,
  parseQueueId,
  PostmqError,
  senderKey,
} from "@postmq/vocabulary";
import type { MessageQueue, QueueId } from "@postmq/vocabulary";

import { parseRange, sizeUnits } from "./parse-range.ts";
import { printable } from "./printable.ts";
import { compileReason } from "./reason-pattern.ts";
import { selectionName } from "./selection-names.ts";
import type { SelectionName } from "./selection-names.ts";
import type { Contains, Selection } from "./selection.ts";

const longestShown = 100;
const longestText = 1000;
/** Ids in one selection at most; more of them are read from standard input, by postsuper. */
const mostIds = 10_000;

export type ParseOptions = {
  /** Ages count from this moment. */
  readonly nowMs: number;
  /** How a part's name is shown to whom it is refused; default: as it is. */
  readonly shownName?: (name: string) => string;
};

/** What is wrong with a value: "must be …". */
class BadValue extends Error {}

type Draft = { -readonly [Part in keyof Selection]: Selection[Part] };

/**
 * @param pairs names as in selectionNames, or `reason~`; `queue`, `id` and the `…_contains` may come several times
 * @throws PMQ_USAGE naming the part and the value that make no sense, as facts `option` and `value` too
 */
export function parseSelection(
  pairs: Iterable<readonly [name: string, value: string]>,
  options: ParseOptions,
): Selection {
  const draft: Draft = {};
  const seen = new Set<SelectionName>();
  for (const [given, value] of pairs) {
    try {
      const name = selectionName(given);
      if (name === undefined) throw new BadValue("is no part of a selection");
      const isRepeatable = name === "queue" || name === "id" || name.endsWith("_contains");
      if (seen.has(name) && !isRepeatable) throw new BadValue("is given twice");
      seen.add(name);
      Object.assign(draft, parsePart(name, value, draft, options.nowMs));
    } catch (error) {
      if (!(error instanceof BadValue || error instanceof RangeError)) throw error;
      throw refused(options.shownName?.(given) ?? given, value, error.message);
    }
  }
  return draft;
}

function refused(name: string, value: string, why: string): PostmqError {
  const [option, shown] = [shortened(name), shortened(value)];
  const text = `${option}: "${shown}" ${printable(why)}`;
  return new PostmqError("PMQ_USAGE", text, { facts: { option, value: shown } });
}

function shortened(text: string): string {
  const shown = printable(text);
  return shown.length > longestShown ? `${shown.slice(0, longestShown)}...` : shown;
}

function parsePart(
  name: SelectionName,
  value: string,
  draft: Selection,
  nowMs: number,
): Partial<Selection> {
  if (value === "") throw new BadValue("is empty");
  switch (name) {
    case "queue":
      return { queues: union(draft.queues, value.split(",").map(parseQueue)) };
    case "id":
      return { ids: parseIds(draft.ids, value) };
    case "sender":
      return { sender: parseSender(value) };
    case "sender_domain":
      return { senderDomain: isNullSender(value) ? countedDomain("") : parseDomain(value) };
    case "recipient":
      return { recipient: parseAddressOf(value) };
    case "domain":
      return { domain: parseDomain(value) };
    case "client":
      return {
        client: parseText(value)
          .toLowerCase()
          .replace(/^\[(.*)\]$/, "$1"),
      };
    case "older_than":
    case "arrived_to":
      return bounded(draft, { arrivedToMs: parseMoment(name, value, nowMs) });
    case "newer_than":
    case "arrived_from":
      return bounded(draft, { arrivedFromMs: parseMoment(name, value, nowMs) });
    case "attempts":
      return { attempts: parseRange(value) };
    case "size":
      return { sizeBytes: parseRange(value, sizeUnits) };
    case "reason":
      compileReason(value);
      return { reason: value };
    case "id_contains":
      return { contains: [...(draft.contains ?? []), parseContains("id", value)] };
    case "sender_contains":
      return { contains: [...(draft.contains ?? []), parseContains("sender", value)] };
    case "recipient_contains":
      return { contains: [...(draft.contains ?? []), parseContains("recipient", value)] };
  }
}

function parseQueue(text: string): MessageQueue {
  if (isMessageQueue(text)) return text;
  throw new BadValue(`names no queue; the queues are ${messageQueues.join(", ")}`);
}

function parseIds(before: readonly QueueId[] | undefined, value: string): readonly QueueId[] {
  const ids = union(
    before,
    value.split(",").map((text) => {
      const id = parseQueueId(text);
      if (id === undefined) throw new BadValue("is no queue id");
      return id;
    }),
  );
  if (ids.length > mostIds) throw new BadValue(`is one id too many: ${mostIds} at most`);
  return ids;
}

function union<Item>(before: readonly Item[] | undefined, more: readonly Item[]): readonly Item[] {
  return [...new Set([...(before ?? []), ...more])];
}

function isNullSender(value: string): boolean {
  return value === "<>" || value === "MAILER-DAEMON";
}

function parseSender(value: string): string {
  return isNullSender(value) ? "" : parseAddressOf(value);
}

function parseAddressOf(value: string): string {
  const address = parseSmtpPath(value);
  if (address === undefined || address === "") throw new BadValue("is no address");
  return senderKey(address);
}

function parseDomain(value: string): string {
  const text = parseText(value).replace(/^@/, "");
  const domain = countedDomain(`@${text}`);
  // Not only names of hosts: addresses without a domain count under their local part, as in qshape.
  if (domain === "" || !/^[^\s@]+$/.test(text)) throw new BadValue("is no domain");
  return domain;
}

function parseText(value: string): string {
  if (value.length > longestText) throw new BadValue(`is longer than ${longestText} characters`);
  if (printable(value) !== value) throw new BadValue("has characters that can't be printed");
  return value;
}

function parseMoment(name: SelectionName, value: string, nowMs: number): number {
  if (name === "older_than" || name === "newer_than") {
    const ms = parseDurationMs(value);
    if (ms === undefined) throw new BadValue("is no age: numbers with units s, m, h, d, w");
    return Math.max(Math.floor(nowMs) - ms, 0);
  }
  const ms = /^\d{4}-\d\d-\d\dT[\d:.]+Z$/.test(value) ? Date.parse(value) : Number.NaN;
  if (Number.isNaN(ms)) throw new BadValue("is no moment such as 2026-11-22T09:00:00Z");
  return ms;
}

/** Of two bounds on the same side the narrower one holds; bounds that exclude everything are a mistake. */
function bounded(
  { arrivedFromMs, arrivedToMs }: Selection,
  more: Pick<Selection, "arrivedFromMs" | "arrivedToMs">,
): Pick<Selection, "arrivedFromMs" | "arrivedToMs"> {
  const fromMs = Math.max(
    arrivedFromMs ?? Number.NEGATIVE_INFINITY,
    more.arrivedFromMs ?? Number.NEGATIVE_INFINITY,
  );
  const toMs = Math.min(
    arrivedToMs ?? Number.POSITIVE_INFINITY,
    more.arrivedToMs ?? Number.POSITIVE_INFINITY,
  );
  if (fromMs > toMs) throw new BadValue("leaves nothing: no message is both older and newer");
  return {
    ...(Number.isFinite(fromMs) ? { arrivedFromMs: fromMs } : {}),
    ...(Number.isFinite(toMs) ? { arrivedToMs: toMs } : {}),
  };
}

/** `!` before it: not in it. A backslash before it: what follows is meant as it stands. */
function parseContains(of: Contains["of"], value: string): Contains {
  const text = parseText(/^[!\\]/.test(value) ? value.slice(1) : value);
  if (text === "") throw new BadValue("names no text");
  return { of, text, isNot: value.startsWith("!") };
}
