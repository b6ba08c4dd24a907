/**
 * Takes one message from maildrop to where it belongs.
 *
 * The message is opened under a claim, rewritten in memory, stored under a new content id, and handed on by one
 * script: it is in maildrop as it came, or whole in the next queue (P2, fault 4). Trouble with the store gives the claim
 * back, and a sweep rings again. An unreadable message goes to corrupt. What nobody foresaw is thrown: it is a bug, and
 * the store counts a message that was opened and never closed.
 *
 * Source: DESIGN §2 "cleanup", §3; spec S33; STYLE §6 "mail is kept".
 */
import { logMessageId, logPickup } from "@postmq/observability";
import type { Log } from "@postmq/observability";
import type { Cleaning, ContentWriter, FinishedContent, OpenedMessage } from "@postmq/queue-store";
import type { RewritingParameters } from "@postmq/rewriting";
import type { InFlowDelay } from "@postmq/service-kit";
import { areVerpDelimiters, isPostmqError } from "@postmq/vocabulary";
import type { PostmqError, QueueId } from "@postmq/vocabulary";
import { decide } from "./decide.ts";
import type { Decision } from "./decide.ts";
import type { WorkBudget } from "./work-budget.ts";

export type CleanupParts = {
  readonly cleaning: Cleaning;
  readonly inFlow: InFlowDelay;
  readonly log: Log;
  readonly parameters: RewritingParameters & { readonly verp_delimiter_filter: string };
  /** Messages in work. */
  readonly places: WorkBudget;
  /** Bytes of their contents. */
  readonly bytes: WorkBudget;
};

/** How it ended. `left`: nothing was ours to do, or it is to be tried again. */
export const cleanupEnds = ["released", "refused", "discarded", "parked", "left"] as const;
export type CleanupEnd = (typeof cleanupEnds)[number];

/** Writes to the store in pieces of this size, so that one message never holds the connection for long. */
const pieceBytes = 262_144;

export function cleanMessage(parts: CleanupParts, id: QueueId): Promise<CleanupEnd> {
  return parts.places.within(1, async () => {
    const opened = await openMessage(parts, id);
    if (opened === undefined) return "left";
    return await parts.bytes.within(opened.content.sizeBytes, () => cleanOrPutAway(parts, opened));
  });
}

async function cleanOrPutAway(parts: CleanupParts, opened: OpenedMessage): Promise<CleanupEnd> {
  try {
    return await cleanOpened(parts, opened);
  } catch (error) {
    if (!isPostmqError(error)) throw error;
    return await putAway(parts, opened, error);
  }
}

async function openMessage(parts: CleanupParts, id: QueueId): Promise<OpenedMessage | undefined> {
  try {
    const opened = await parts.cleaning.open(id);
    if (opened === "parked") parts.log.warning("unreadable message moved to corrupt", id);
    return typeof opened === "string" ? undefined : opened;
  } catch (error) {
    if (!isPostmqError(error)) throw error;
    parts.log.warning(`not opened, will be tried again: ${error.message}`, id);
    return undefined;
  }
}

async function cleanOpened(parts: CleanupParts, opened: OpenedMessage): Promise<CleanupEnd> {
  const stored = await parts.cleaning.readContent(opened.content);
  const decision = decide(withFitVerp(opened, parts), stored, parts.parameters);
  if (decision.action === "discard") return await discard(parts, opened, decision.reason);
  logDecision(parts.log, opened, decision);
  await parts.inFlow.wait();
  const content = await store(parts.cleaning.openContent(opened.id), decision.content);
  const { envelope, recipients } = decision;
  const into = { queue: "incoming", envelope, recipients, content } as const;
  // Whatever comes of this, the new content is not dropped from here on: the move may have been made although its
  // answer was lost, or came too late to be told from another's. What is not used expires by itself.
  const answer = await parts.cleaning.release(opened, into);
  if (answer === "stale") return "left";
  return decision.refusal === undefined ? "released" : "refused";
}

/** Whoever writes to maildrop may have written anything. Source: Postfix src/cleanup/cleanup_envelope.c. */
function withFitVerp(opened: OpenedMessage, { parameters, log }: CleanupParts): OpenedMessage {
  const { verpDelimiters, ...plain } = opened.envelope;
  if (verpDelimiters === undefined) return opened;
  const isFit = areVerpDelimiters(verpDelimiters, parameters.verp_delimiter_filter);
  if (isFit && plain.sender !== "") return opened;
  const why = isFit
    ? "VERP request for null sender"
    : `bad VERP request: ${JSON.stringify(verpDelimiters.slice(0, 100))}`;
  log.warning(`ignoring ${why}`, opened.id);
  return { ...opened, envelope: plain };
}

async function discard(
  parts: CleanupParts,
  opened: OpenedMessage,
  reason: string,
): Promise<CleanupEnd> {
  const { envelope } = opened;
  parts.log.warning(`${reason}: message from <${envelope.sender}> discarded`, opened.id);
  const content = await parts.cleaning.openContent(opened.id).finish();
  const into = { queue: "gone", envelope, recipients: [], content } as const;
  return (await parts.cleaning.release(opened, into)) === "stale" ? "left" : "discarded";
}

/** Before the release, so that these lines stand before those of the next services. */
function logDecision(
  log: Log,
  opened: OpenedMessage,
  decision: Extract<Decision, { action: "release" }>,
): void {
  const { origin, client } = opened.envelope;
  if (origin === "sendmail" || origin === "http") {
    logPickup(log, opened.id, { uid: client?.uid, sender: decision.envelope.sender });
  }
  if (decision.messageId !== undefined) logMessageId(log, opened.id, decision.messageId);
  if (decision.refusal === undefined) return;
  const { smtpCode, status, text } = decision.refusal;
  log.info(`refused: ${smtpCode} ${status} ${text}; from=<${decision.envelope.sender}>`, opened.id);
}

async function store(writer: ContentWriter, parts: readonly Buffer[]): Promise<FinishedContent> {
  try {
    for (const part of parts) {
      for (let start = 0; start < part.length; start += pieceBytes) {
        await writer.write(part.subarray(start, start + pieceBytes));
      }
    }
    return await writer.finish();
  } catch (error) {
    await writer.abort();
    throw error;
  }
}

/** The message stays: in corrupt if it can't be read, else in maildrop, to be tried again. */
async function putAway(
  parts: CleanupParts,
  opened: OpenedMessage,
  trouble: PostmqError,
): Promise<CleanupEnd> {
  const { cleaning, log } = parts;
  try {
    if (trouble.code === "PMQ_MESSAGE_UNREADABLE") {
      if ((await cleaning.park(opened, trouble.message)) === "stale") return "left";
      log.error(`moved to corrupt: ${trouble.message}`, opened.id);
      return "parked";
    }
    log.warning(`put back, will be tried again: ${trouble.message}`, opened.id);
    await cleaning.giveBack(opened);
  } catch (error) {
    if (!isPostmqError(error)) throw error;
    log.warning(`stays claimed until the store is back: ${error.message}`, opened.id);
  }
  return "left";
}
