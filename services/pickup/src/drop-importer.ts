/**
 * Brings in the messages that `sendmail` left in the drop directory while the store was away.
 *
 * For each file, in this order, so that a crash between any two steps loses nothing and doubles nothing (fault 3):
 *
 * 1. commit under the id that `sendmail` chose, which also marks the id as taken; a second commit of the same id
 *    answers `already` and changes nothing, even when the message has been delivered meanwhile;
 * 2. unlink the file and sync the directory;
 * 3. take the mark off.
 *
 * A crash after 1: the file is found again, committed to no effect, unlinked. A crash after 2: only a mark is left.
 *
 * A file that is no message is renamed `*.corrupt`, with a warning; nothing but a message that was stored is ever
 * deleted, apart from half-written files of more than 7 days (Q8).
 *
 * Source: DESIGN §2, §3; spec queues.md §3; security.md 9.
 */
import {
  listDropped,
  openDropped,
  purgeStaleTemporaries,
  removeDropped,
  setAside,
} from "@postmq/drop-directory";
import type { DroppedFile, DroppedMessage } from "@postmq/drop-directory";
import { LineEndNormaliser, parseAddress } from "@postmq/mail-format";
import type { Log } from "@postmq/observability";
import type { CommitAnswer, FinishedContent, Intake } from "@postmq/queue-store";
import { isPostmqError, PostmqError } from "@postmq/vocabulary";
import type { Clock, QueueId } from "@postmq/vocabulary";

export type DropImporterOptions = {
  readonly directory: string;
  readonly intake: Intake;
  readonly log: Log;
  readonly clock: Clock;
  /** message_size_limit; 0: none. */
  readonly maxBytes: number;
  readonly onTaken?: () => void;
  /** Asked before each file: to take no more of them. */
  readonly isEnding?: () => boolean;
};

/** `later`: something is left that could not be taken in right now. */
export type ScanResult = "done" | "later";

/** Takes in everything that lies in the directory. Throws only when the directory itself can't be read. */
export async function importDropped(options: DropImporterOptions): Promise<ScanResult> {
  let result: ScanResult = "done";
  for (const id of await listDropped(options.directory)) {
    if (options.isEnding?.() === true || options.intake.refusal() !== undefined) return "later";
    if ((await importSafely(id, options)) === "later") result = "later";
  }
  await purgeStaleTemporaries(options.directory, Date.now());
  return result;
}

/** One file's trouble is told and stops no other file. */
async function importSafely(id: QueueId, options: DropImporterOptions): Promise<ScanResult> {
  const { directory, log } = options;
  try {
    await importOne(id, options);
    return "done";
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    if (!isPostmqError(error, "PMQ_MESSAGE_UNREADABLE")) {
      log.warning(`${directory}/${id} is left for later: ${reason}`);
      return "later";
    }
    const name = await setAside(directory, id);
    if (name !== undefined) log.warning(`${directory}/${id} is put aside as ${name}: ${reason}`);
    return "done";
  }
}

async function importOne(id: QueueId, options: DropImporterOptions): Promise<void> {
  const { directory, intake } = options;
  await using file = await openDropped(directory, id);
  if (file === undefined) return;
  assertAcceptable(file, options.maxBytes);
  const answer = await store(file, options);
  if (answer === "gone") return;
  await removeDropped(directory, id);
  await intake.forgetTaken(id);
  options.onTaken?.();
}

/** What `sendmail` never writes, a hostile user may. @throws PMQ_MESSAGE_UNREADABLE */
function assertAcceptable({ message, contentBytes }: DroppedFile, maxBytes: number): void {
  const { envelope, recipients } = message;
  const isAddress = (address: string) => parseAddress(address) === address;
  const refuse = (reason: string) => new PostmqError("PMQ_MESSAGE_UNREADABLE", reason);
  if (maxBytes > 0 && contentBytes > maxBytes) throw refuse("it exceeds message_size_limit");
  if (envelope.sender !== "" && !isAddress(envelope.sender)) throw refuse("bad sender");
  if (!recipients.every(({ address }) => isAddress(address))) throw refuse("bad recipient");
  if (recipients.length === 0 && envelope.extractRecipients !== true) throw refuse("no recipients");
}

async function store(
  file: DroppedFile,
  options: DropImporterOptions,
): Promise<CommitAnswer | "gone"> {
  const { message } = file;
  const writer = options.intake.openContent(message.id);
  try {
    const normaliser = new LineEndNormaliser();
    for await (const chunk of file.readContent()) await writer.write(normaliser.write(chunk));
    await writer.write(normaliser.end());
    const content = await writer.finish();
    const answer = (await file.isStillThere()) ? await commit(message, content, options) : "gone";
    if (answer !== "stored") await writer.abort();
    return answer;
  } catch (error) {
    await writer.abort();
    throw error;
  }
}

function commit(
  message: DroppedMessage,
  content: FinishedContent,
  { intake, clock }: DropImporterOptions,
): Promise<CommitAnswer> {
  const { id, envelope, recipients } = message;
  // A machine whose clock was ahead must not date mail into the future.
  const arrivalMs = Math.min(message.arrivalMs, clock.nowMs());
  return intake.commit({
    id,
    queue: "maildrop",
    envelope,
    recipients,
    content,
    arrivalMs,
    taken: true,
  });
}
