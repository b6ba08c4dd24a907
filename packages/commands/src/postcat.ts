/**
 * postcat: a message as Postfix prints the contents of its queue file, and, with --qf, as sendmail's control file.
 *
 * Messages are found by id; there are no files. Content is read in chunks and printed as it comes, so that a large
 * message needs no more memory than a small one. What can't be read is told, and the rest is shown.
 *
 * Source: spec admin-tools.md §3, sendmail-queue.md §2; postcat(1); Postfix src/postcat/postcat.c.
 */
import type { Parameters } from "@postmq/config";
import {
  postcatText,
  postfixPath,
  printable,
  qfHeaderBytes,
  qfView,
  queueFile,
  terminalSafe,
  whileReachable,
} from "@postmq/queue-admin";
import type { PostcatOptions } from "@postmq/queue-admin";
import type { ListedMessage, MessageCopy, Store } from "@postmq/queue-store";
import { isPostmqError, parseQueueId } from "@postmq/vocabulary";
import type { QueueId } from "@postmq/vocabulary";

import { CommandFailure } from "./command.ts";
import type { CommandContext } from "./command.ts";
import { lastValue } from "./getopt.ts";
import type { GivenArguments } from "./getopt.ts";
import { withQueue } from "./open-queue.ts";
import { readParameters } from "./read-parameters.ts";
import { toolOptions } from "./tool-options.ts";

const usageText =
  "usage: postcat [-b (body text)] [-c config_dir] [-d (decimal record type)] [-e (envelope records)] " +
  "[-h (header text)] [-q (access queue)] [-v] [file(s)...]";
/** What Postfix's own tools end with. */
const fatal = 1;
const openWithinMs = 3_000;
/** Printed at once: few writes, and little held. */
const batchBytes = 64 * 1024;

/** A message as far as it could be read. */
type ReadMessage = {
  readonly listed: ListedMessage;
  /** undefined: only what `listed` tells is known. */
  readonly copy: MessageCopy | undefined;
};

export async function postcat(context: CommandContext): Promise<number> {
  const isQfView = context.args.includes("--qf");
  const args = context.args.filter((word) => word !== "--qf");
  const given = toolOptions({ ...context, args }, "bc:dehoqrs:v", {
    text: usageText,
    exitCode: fatal,
  });
  const options = optionsOf(given);
  const isById = isQfView || isSet(given, "q");
  assertIds(given.operands, isById);
  let isWhole = true;
  try {
    const parameters = readParameters(context.env, lastValue(given, "c"));
    await withQueue(parameters, { command: "postcat", withinMs: openWithinMs }, async (store) => {
      for (const operand of given.operands) {
        const id = parseQueueId(operand);
        if (id === undefined) throw new CommandFailure(fatal, `bad mail queue ID: ${operand}`);
        const show = isQfView ? showControlFile : showFile;
        const message = await whileReachable(store, () => readMessage(store, id));
        const isShown = await show({ context, store, parameters, options }, message);
        isWhole &&= isShown;
      }
    });
  } catch (error) {
    if (!isPostmqError(error)) throw error;
    throw new CommandFailure(fatal, error.message, error);
  }
  return isWhole ? 0 : fatal;
}

function optionsOf(given: GivenArguments): PostcatOptions {
  const isAll = !["b", "e", "h"].some((letter) => isSet(given, letter));
  return {
    showsEnvelope: isAll || isSet(given, "e"),
    showsHeader: isAll || isSet(given, "h"),
    showsBody: isAll || isSet(given, "b"),
    showsOffsets: isSet(given, "o"),
    showsTypes: isSet(given, "d"),
    isVerbose: isSet(given, "v"),
    startOffset: startOffset(lastValue(given, "s") ?? "0"),
  };
}

function isSet(given: GivenArguments, letter: string): boolean {
  return given.options.some((option) => option.letter === letter);
}

function startOffset(text: string): number {
  if (/^\d{1,15}$/.test(text)) return Number(text);
  throw new CommandFailure(fatal, `bad offset: ${text}`);
}

function assertIds(operands: readonly string[], isById: boolean): void {
  if (!isById) {
    const what = operands[0] ?? "stdin";
    throw new CommandFailure(
      fatal,
      `open ${what}: postmq keeps messages in Redis, not in files: name them by queue id, postcat -q ID`,
    );
  }
  if (operands.length === 0) throw new CommandFailure(fatal, "no queue id is given");
}

/** @throws CommandFailure when there is no such message */
async function readMessage(store: Store, id: QueueId): Promise<ReadMessage> {
  const listed = await store.looking().message(id);
  const read = await store.copying().readCopy(id);
  if (listed === undefined || read === "absent") {
    throw new CommandFailure(fatal, `open queue file ${id}: No such file or directory`);
  }
  if (read === "changing") {
    throw new CommandFailure(
      fatal,
      `${id}: is being delivered, and changes while it is read: try again`,
    );
  }
  return { listed, copy: read === "unreadable" ? copyOf(listed) : read.copy };
}

/** Of a message that can't be read whole, what a listing could read; undefined: not even that. */
function copyOf(listed: ListedMessage): MessageCopy | undefined {
  if (listed.generation === 0) return undefined;
  const { id, queue, arrivalMs, createdMs, envelope, recipients, attempts, lastAttemptMs } = listed;
  return {
    id,
    queue: queue === "active" ? "incoming" : queue,
    arrivalMs,
    createdMs,
    envelope,
    recipients,
    attempts,
    ...(lastAttemptMs === undefined ? {} : { lastAttemptMs }),
    isForceExpired: listed.isForceExpired,
    wasWarned: false,
    isFinished: false,
  };
}

type Showing = {
  readonly context: CommandContext;
  readonly store: Store;
  readonly parameters: Parameters;
  readonly options: PostcatOptions;
};

/** @returns whether all of it could be read */
async function showFile(
  { context, store, parameters, options }: Showing,
  { listed, copy }: ReadMessage,
): Promise<boolean> {
  const path = postfixPath(listed.queue, listed.id);
  const troubles = new Set<string>();
  const say = (text: string) => context.complain(`${context.name}: warning: ${path}: ${text}\n`);
  const warn = (text: string) => {
    if (!troubles.has(text)) say(text);
    troubles.add(text);
  };
  if (listed.corruptReason !== undefined) warn(printable(listed.corruptReason));
  const content = () => asFarAsReadable(contentOf(store, listed, copy), warn);
  const { showsEnvelope, showsOffsets, startOffset } = options;
  const file = await queueFile(
    path,
    copy && { copy, delayWarningMs: parameters.delay_warning_time },
    content,
    showsEnvelope || showsOffsets || startOffset > 0,
  );
  await printAll(context, postcatText(file, options, say));
  return troubles.size === 0;
}

async function showControlFile(
  { context, store }: Showing,
  { listed, copy }: ReadMessage,
): Promise<boolean> {
  if (copy === undefined) {
    throw new CommandFailure(
      fatal,
      `${listed.id}: ${printable(listed.corruptReason ?? "unreadable")}`,
    );
  }
  const parts: Buffer[] = [];
  let size = 0;
  let problem: string | undefined;
  const content = asFarAsReadable(contentOf(store, listed, copy), (text) => void (problem = text));
  for await (const part of content) {
    parts.push(part);
    size += part.length;
    if (size >= qfHeaderBytes) break;
  }
  const text = Buffer.from(qfView(copy, Buffer.concat(parts), listed.sizeBytes));
  await context.stream(context.isTerminal ? terminalSafe(text) : text);
  if (problem !== undefined)
    context.complain(`${context.name}: warning: ${listed.id}: ${problem}\n`);
  return problem === undefined;
}

/** Of a message whose record tells nothing of its content, what stands under its own id. */
function contentOf(
  store: Store,
  { id, content }: ListedMessage,
  copy: MessageCopy | undefined,
): AsyncIterable<Buffer> {
  const guessed = { contentId: id, sizeBytes: 0, chunks: 1 };
  const isKnown = copy !== undefined || content.chunks > 0;
  return store.looking().readContent(isKnown ? content : guessed);
}

async function* asFarAsReadable(
  content: AsyncIterable<Buffer>,
  onTrouble: (text: string) => void,
): AsyncGenerator<Buffer, void, void> {
  try {
    yield* content;
  } catch (error) {
    if (!isPostmqError(error, "PMQ_MESSAGE_UNREADABLE")) throw error;
    onTrouble(error.message);
  }
}

/** In batches; what goes to a terminal can't drive it. */
async function printAll(context: CommandContext, pieces: AsyncIterable<Buffer>): Promise<void> {
  let batch: Buffer[] = [];
  let bytes = 0;
  const flush = async () => {
    const all = Buffer.concat(batch);
    await context.stream(context.isTerminal ? terminalSafe(all) : all);
    batch = [];
    bytes = 0;
  };
  for await (const piece of pieces) {
    batch.push(piece);
    bytes += piece.length;
    if (bytes >= batchBytes) await flush();
  }
  await flush();
}
