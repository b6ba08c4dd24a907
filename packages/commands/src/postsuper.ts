/**
 * postsuper: what an administrator does to messages, by id or to all of a queue.
 *
 * Who can open the store may do it: the credentials of Redis are the administrator's, as root is Postfix's. There is no
 * structure to repair (-s, -S) and nothing left over to purge (-p): what was stored ahead goes by itself; damage is
 * `postmq check`'s. Every hit by id is told, in order; ALL is counted.
 *
 * Source: spec admin-tools.md §2, A1 to A5; postsuper(1); Postfix src/postsuper/postsuper.c.
 */
import { once } from "node:events";

import { queuesFor, whileReachable } from "@postmq/queue-admin";
import type { OperationFaces } from "@postmq/queue-admin";
import { queuesOfAct } from "@postmq/queue-store";
import type { Act, Auditing, Store } from "@postmq/queue-store";
import { exitCodes, isPostmqError, parseQueueId } from "@postmq/vocabulary";
import type { MessageQueue, QueueId } from "@postmq/vocabulary";

import { note } from "./audited.ts";
import type { Noted } from "./audited.ts";
import { CommandFailure } from "./command.ts";
import type { CommandContext } from "./command.ts";
import { idLines } from "./id-lines.ts";
import { withQueue } from "./open-queue.ts";
import { fatal, parsePostsuper } from "./postsuper-arguments.ts";
import type { SuperAct, SuperRequest } from "./postsuper-arguments.ts";
import { readParameters } from "./read-parameters.ts";
import { shownText } from "./shown-text.ts";
import { untilStopped } from "./stop-signal.ts";
import { watchOperation } from "./watched-operation.ts";

const openWithinMs = 3_000;
/** Ids in one script. */
const mostIds = 500;

/** What is said of each hit. */
const saidOf: Readonly<Record<Act, string>> = {
  delete: "removed",
  hold: "placed on hold",
  release: "released from hold",
  requeue: "requeued",
  expire: "expired",
  retry: "moved to incoming",
};

/** The lines at the end, in this order. */
const reports = [
  { act: "requeue", words: "Requeued" },
  { act: "delete", words: "Deleted" },
  { act: "expire", words: "Force-expired" },
  { act: "hold", words: "Placed on hold" },
  { act: "release", words: "Released from hold" },
] as const satisfies readonly { readonly act: Act; readonly words: string }[];

type Faces = OperationFaces & { readonly auditing: Auditing };

export async function postsuper(context: CommandContext): Promise<number> {
  const request = parsePostsuper(context);
  try {
    const parameters = readParameters(context.env, request.config);
    if (request.acts.length === 0) return exitCodes.ok;
    return await untilStopped((signal) =>
      withQueue(parameters, { command: "postsuper", withinMs: openWithinMs }, async (store) => {
        const superintendent = new Superintendent(context, store, request, signal);
        try {
          return await whileReachable(store, () => superintendent.run());
        } finally {
          superintendent.report();
        }
      }),
    );
  } catch (error) {
    if (error instanceof CommandFailure) throw new CommandFailure(fatal, error.message, error);
    if (!isPostmqError(error)) throw error;
    const isDown = error.code !== "PMQ_CONFIG_INVALID";
    const text = isDown ? `mail system is down (${error.message})` : error.message;
    throw new CommandFailure(fatal, text, error);
  }
}

class Superintendent {
  readonly #context: CommandContext;
  readonly #faces: Faces;
  readonly #request: SuperRequest;
  readonly #signal: AbortSignal;
  readonly #aborted: Promise<undefined>;
  readonly #lines: AsyncGenerator<readonly string[], void, void>;
  /** Per act that was asked for. */
  readonly #counts = new Map<Act, number>();
  #isStopped = false;

  constructor(context: CommandContext, store: Store, request: SuperRequest, signal: AbortSignal) {
    this.#context = context;
    this.#faces = {
      acting: store.acting(),
      selecting: store.selecting(),
      auditing: store.auditing(),
      clock: store.clock,
    };
    this.#request = request;
    this.#signal = signal;
    this.#aborted = aborted(signal);
    // Read once: a second `-` finds the end of the input.
    this.#lines = idLines(context.input, mostIds);
  }

  /** @returns the exit status */
  async run(): Promise<number> {
    for (const superAct of this.#request.acts) {
      for (const act of superAct.acts) this.#count(act, 0);
      if (superAct.on === "ALL") await this.#actOnAll(superAct);
      else await this.#actOnIds(superAct, superAct.on);
      if (this.#isStopped) break;
    }
    return this.#isStopped ? exitCodes.tempFail : exitCodes.ok;
  }

  async #actOnAll({ acts, letter }: SuperAct): Promise<void> {
    const { queues, isDryRun, reason } = this.#request;
    // A queue from which nothing is taken is no mistake to Postfix.
    const taken = queues?.filter((queue) => acts.some((act) => takes(act, queue)));
    if (taken?.length === 0) return;
    const { progress, isStopped } = await watchOperation(this.#context, this.#faces, {
      task: { acts, selection: taken === undefined ? {} : { queues: taken }, isDryRun },
      action: actionOf(acts, letter),
      reason,
      signal: this.#signal,
      isQuiet: !this.#context.isErrorTerminal,
    });
    for (const [i, act] of acts.entries()) this.#count(act, progress.done[i] ?? 0);
    this.#isStopped ||= isStopped;
  }

  async #actOnIds(superAct: SuperAct, typed: readonly string[]): Promise<void> {
    const before = this.#total();
    const named = typed.filter((text) => text !== "-");
    const isLong = named.length < typed.length || named.length > mostIds;
    const told = (outcome: "started" | "done" | "cancelled", count?: number) =>
      this.#note(superAct, {
        selection:
          named.length < typed.length ? "ids from standard input" : `id=${named.join(",")}`,
        outcome,
        ...(count === undefined ? {} : { count }),
      });
    // What is one step is noted when it is done.
    if (isLong) await told("started");
    let words: string[] = [];
    const flush = async () => {
      if (words.length > 0) await this.#actOnBatch(superAct.acts, words);
      words = [];
    };
    for (const text of typed) {
      if (text !== "-") words.push(text);
      else {
        await flush();
        await this.#actOnLines(superAct.acts);
      }
      if (words.length === mostIds) await flush();
      if (this.#isStopped) break;
    }
    await flush();
    const count = this.#total() - before;
    if (count > 0 || isLong) await told(this.#isStopped ? "cancelled" : "done", count);
  }

  async #note(
    { acts, letter }: SuperAct,
    noted: Pick<Noted, "selection" | "outcome" | "count">,
  ): Promise<void> {
    const { reason, isDryRun } = this.#request;
    if (isDryRun) return;
    await note(this.#faces.auditing, this.#context, {
      action: actionOf(acts, letter),
      ...noted,
      ...(reason === undefined ? {} : { reason }),
    });
  }

  async #actOnLines(acts: readonly Act[]): Promise<void> {
    for (;;) {
      // Who is told to stop must not wait for a line that nobody types.
      const next = await Promise.race([this.#lines.next(), this.#aborted]);
      if (next === undefined) this.#isStopped = true;
      if (next === undefined || next.done === true) return;
      await this.#actOnBatch(acts, next.value);
    }
  }

  /** Tells of bad ids, hits and what is unreadable in the order of the words. */
  async #actOnBatch(acts: readonly Act[], words: readonly string[]): Promise<void> {
    const ids = words.map(parseQueueId);
    const said: string[][] = words.map((word, i) =>
      ids[i] === undefined ? [`warning: invalid mail queue id: ${shownText(word)}`] : [],
    );
    const known = ids.flatMap((id, i) => (id === undefined ? [] : [{ id, lines: said[i] ?? [] }]));
    for (const act of acts) {
      const those = await this.#meant(act, acts, known);
      const answers = await this.#answers(
        act,
        those.map(({ id }) => id),
      );
      for (const [i, { id, lines }] of those.entries()) {
        if (answers[i] === "done") lines.push(`${id}: ${this.#wouldBe()}${saidOf[act]}`);
        if (answers[i] === "unreadable") lines.push(`warning: ${id}: unreadable, left alone`);
      }
      this.#count(act, answers.filter((answer) => answer === "done").length);
    }
    const { name } = this.#context;
    const text = said.flat().map((line) => `${name}: ${line}\n`);
    if (text.length > 0) this.#context.complain(text.join(""));
  }

  /** A message that is held just after the expiry of -f must not be let go unexpired. */
  async #meant<Known extends { readonly id: QueueId }>(
    act: Act,
    acts: readonly Act[],
    known: readonly Known[],
  ): Promise<readonly Known[]> {
    if (act !== "release" || !acts.includes("expire") || this.#request.isDryRun) return known;
    const messages = await this.#faces.selecting.messages(known.map(({ id }) => id));
    const expired = new Set(messages.filter((m) => m.isForceExpired).map(({ id }) => id));
    return known.filter(({ id }) => expired.has(id));
  }

  async #answers(act: Act, ids: readonly QueueId[]): Promise<readonly string[]> {
    const { queues, isDryRun } = this.#request;
    const taken = queues === undefined ? queuesOfAct[act] : queuesFor(act, { queues });
    if (taken.length === 0 || ids.length === 0) return [];
    if (!isDryRun) return await this.#faces.acting.act(act, ids, { queues: taken });
    const found = await this.#faces.selecting.messages(ids);
    const hits = found
      .filter(({ queue }) => taken.includes(queue))
      .filter(({ isForceExpired }) => act !== "expire" || !isForceExpired);
    const hit = new Set(hits.map(({ id }) => id));
    // An id that is named twice is a hit once.
    return ids.map((id) => (hit.delete(id) ? "done" : "absent"));
  }

  #wouldBe(): string {
    return this.#request.isDryRun ? "would be " : "";
  }

  #count(act: Act, more: number): void {
    this.#counts.set(act, (this.#counts.get(act) ?? 0) + more);
  }

  #total(): number {
    return [...this.#counts.values()].reduce((sum, count) => sum + count, 0);
  }

  report(): void {
    const { name, complain } = this.#context;
    const dry = this.#request.isDryRun ? " (dry run, nothing was changed)" : "";
    for (const { act, words } of reports) {
      const count = this.#counts.get(act);
      if (count === undefined) continue;
      complain(`${name}: ${words}: ${count} ${count === 1 ? "message" : "messages"}${dry}\n`);
    }
    if (this.#isStopped) complain(`${name}: warning: stopped; start it again for the rest\n`);
  }
}

async function aborted(signal: AbortSignal): Promise<undefined> {
  if (!signal.aborted) await once(signal, "abort");
  return undefined;
}

function takes(act: Act, queue: MessageQueue): boolean {
  return queuesFor(act, { queues: [queue] }).length > 0;
}

function actionOf(acts: readonly Act[], letter: string): string {
  return acts.length === 1 ? acts.join() : `-${letter} (${acts.join(", ")})`;
}
