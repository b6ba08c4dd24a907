/**
 * The leader's side of the store. Every write carries the fence; an old leader is refused (PMQ_STORE_FENCED).
 *
 * Source: DESIGN §3, §4; spec queues.md §3.5 to §3.7, Q10, Q13.
 */
import type { Redis } from "ioredis";
import { enhancedStatus, panic } from "@postmq/vocabulary";
import type { QueueId, RecipientOutcome, RequestName } from "@postmq/vocabulary";
import type {
  DeliveryBell,
  DestinationReport,
  Fence,
  ImportedMessage,
  LeaderEvents,
  NewRequest,
  OpenRequest,
  Recalled,
  RecipientsRead,
  Scheduling,
  SettleAnswer,
  Settlement,
  Survey,
} from "./contract.ts";
import { readScanned } from "./leader-reports.ts";
import { LeaderStream } from "./leader-stream.ts";
import {
  checkedId,
  outcomeArguments,
  packNumbers,
  packStateText,
  parseEnvelope,
  unpackRequest,
} from "./packing.ts";
import { storeError, whenOpen } from "./redis-connection.ts";
import { allReported, asArray, asNumber, asRecipients, asText, asWord } from "./script-reply.ts";
import { loadScript, runScript } from "./script.ts";
import type { Script, ScriptArgument } from "./script.ts";
import type { StoreParts } from "./store-parts.ts";

const scripts = {
  importMessages: loadScript("import-messages"),
  closeImport: loadScript("close-import"),
  readRecipients: loadScript("read-recipients"),
  dispatch: loadScript("dispatch-requests"),
  renew: loadScript("renew-requests"),
  inspect: loadScript("inspect-requests"),
  reap: loadScript("reap-requests"),
  settle: loadScript("settle-messages"),
  recordOutcomes: loadScript("record-outcomes"),
  survey: loadScript("survey-workers"),
  reopen: loadScript("reopen-active"),
  endFlush: loadScript("end-flush"),
  recall: loadScript("recall"),
  mendDue: loadScript("mend-due"),
  publish: loadScript("publish"),
  sweep: loadScript("sweep"),
  park: loadScript("park-corrupt"),
};

const reopenStep = 500;
const mostSwept = 1000;
const mostPerScript = 500;
/** A worker that has been gone this long is forgotten. */
const forgetWorkerMs = 3_600_000;
/** When the leader is silent for so long, nobody leads. */
const schedulerLifeMs = 10_000;
/** qmgr_message_recipient_minimum. */
const defaultMinRecipients = 10;
const ambiguousText = packStateText({
  status: enhancedStatus("4.4.2"),
  reason:
    "delivery status unknown: the delivery process died after the end of the message was sent",
});

/** An import that finds only what it must put away asks again; each round puts some away. */
const mostImportRounds = 20;
/** So many terms of this process in a row may end over their first import before a crash is counted. */
const mostShortTerms = 3;

function slices<Item>(items: readonly Item[]): readonly (readonly Item[])[] {
  const count = Math.ceil(items.length / mostPerScript);
  return Array.from({ length: count }, (_, i) =>
    items.slice(i * mostPerScript, (i + 1) * mostPerScript),
  );
}

export class SchedulingStore implements Scheduling {
  readonly #parts: StoreParts;
  readonly #redis: Redis;
  readonly #stream: LeaderStream;
  /** Fence of the last import; "" before the first. */
  #ledLast: Fence = "";
  #importsInTerm = 0;
  /** Terms in a row that ended over their first import. */
  #shortTerms = 0;

  constructor(parts: StoreParts) {
    this.#parts = parts;
    // Hasty: an import that was resent after a reconnect would leave its first batch in active, known to nobody.
    this.#redis = parts.connect("hasty", "scheduling");
    this.#stream = new LeaderStream(parts.connect("hasty", "events"), parts.keys);
  }

  async #run(
    script: Script,
    keys: readonly string[],
    args: readonly ScriptArgument[],
  ): Promise<unknown> {
    return this.#ask((redis) => runScript(redis, script, keys, [this.#parts.keys.prefix, ...args]));
  }

  async #ask<Reply>(question: (redis: Redis) => Promise<Reply>): Promise<Reply> {
    try {
      await whenOpen(this.#redis);
      return await question(this.#redis);
    } catch (error) {
      throw storeError(error);
    }
  }

  #recordKeys(names: readonly { readonly id: QueueId }[]): string[] {
    return names.map((name) => this.#parts.keys.record(name.id));
  }

  async importMessages(
    options: Parameters<Scheduling["importMessages"]>[0],
  ): Promise<readonly ImportedMessage[]> {
    const { keys, crashLimit, processLimit } = this.#parts;
    const { fence, from, maxMessages, maxRecipients } = options;
    const isByEntry = from === "incoming" || options.enteredBeforeMs !== undefined;
    const index = isByEntry ? keys.byEntry(from) : keys.due;
    this.#noteImport(fence);
    const imported: ImportedMessage[] = [];
    for (let round = 0; round < mostImportRounds; round += 1) {
      const reply = asArray(
        await this.#run(
          scripts.importMessages,
          [index],
          [
            fence,
            from,
            maxMessages,
            maxRecipients,
            crashLimit + 1,
            options.maxRecipientsInAll ?? "",
            options.minRecipients ?? defaultMinRecipients,
            from === "deferred" ? (options.enteredBeforeMs ?? "") : "",
            processLimit,
          ],
        ),
      );
      for (const entry of reply) {
        const message = await this.#readImported(fence, asArray(entry));
        if (message !== undefined) imported.push(message);
      }
      // All of them unreadable or elsewhere is not the end: an empty batch tells the caller that nothing is there.
      if (imported.length > 0 || reply.length === 0) break;
    }
    return imported;
  }

  #noteImport(fence: Fence): void {
    this.#importsInTerm = this.#ledLast === fence ? this.#importsInTerm + 1 : 1;
    this.#ledLast = fence;
    // A second import says that the first is in hand.
    this.#shortTerms = this.#importsInTerm > 1 ? 0 : this.#shortTerms + 1;
  }

  async #readImported(
    fence: Fence,
    entry: readonly unknown[],
  ): Promise<ImportedMessage | undefined> {
    const [
      rawId,
      generation,
      arrival,
      created,
      envelope,
      size,
      total,
      undone,
      failed,
      attempts,
      crashes,
    ] = entry;
    const [
      finished,
      next,
      recipients,
      requests,
      isMoreBehind,
      expired,
      warned,
      unthrottling,
      surplus,
      successes,
    ] = entry.slice(11);
    const id = checkedId(rawId) ?? panic("a queue holds something that is no queue id");
    if (entry.length === 1) {
      this.#parts.notice("info", `${id}: the index named the wrong queue, and was mended`);
      return undefined;
    }
    if (entry.length === 2) {
      this.#parts.notice("error", `${id}: moved to corrupt: ${asText(generation)}`);
      return undefined;
    }
    try {
      const flat = asArray(requests).map(asText);
      return {
        id,
        generation: asNumber(generation),
        arrivalMs: asNumber(arrival),
        createdMs: asNumber(created),
        envelope: parseEnvelope(asText(envelope)),
        sizeBytes: asNumber(size),
        totalRecipients: asNumber(total),
        undoneRecipients: asNumber(undone),
        unreportedRecipients: asNumber(failed),
        unreportedSuccesses: asNumber(successes),
        recipients: asRecipients(recipients, allReported),
        nextRecipient: asNumber(next),
        attempts: asNumber(attempts),
        crashes: asNumber(crashes),
        isFinished: finished === "1",
        isForceExpired: expired === "1",
        wasWarned: warned !== "",
        isUnthrottling: unthrottling === "1",
        ...(surplus === "" ? {} : { surplusOf: asText(surplus) }),
        isMoreBehind: isMoreBehind === 1,
        openRequests: flat
          .flatMap((text, i) => (i % 2 === 1 ? [unpackRequest(id, Number(flat[i - 1]), text)] : []))
          .filter((request) => request !== undefined),
      };
    } catch (error) {
      await this.#park(fence, id, storeError(error).message);
      return undefined;
    }
  }

  async #park(fence: Fence, id: QueueId, reason: string): Promise<void> {
    const keys = [this.#parts.keys.record(id)];
    const answer = await this.#run(scripts.park, keys, [id, reason, fence, ""]);
    // An operator has deleted it.
    if (asText(answer) === "stale") return;
    this.#parts.notice("error", `${id}: moved to corrupt: ${reason}`);
  }

  async closeImport(fence: Fence): Promise<void> {
    await this.#run(scripts.closeImport, [], [fence]);
  }

  async readRecipients(options: {
    readonly id: QueueId;
    readonly from: number;
    readonly limit: number;
  }): Promise<RecipientsRead> {
    const { id, from, limit } = options;
    const [next, flat, failed, succeeded] = asArray(
      await this.#run(
        scripts.readRecipients,
        [this.#parts.keys.record(id)],
        [id, from, limit, "undone"],
      ),
    );
    return {
      recipients: asRecipients(flat, allReported),
      nextRecipient: asNumber(next),
      unreportedRecipients: asNumber(failed),
      unreportedSuccesses: asNumber(succeeded),
    };
  }

  async dispatch(
    fence: Fence,
    requests: readonly NewRequest[],
  ): Promise<readonly (RequestName | undefined)[]> {
    const names: (RequestName | undefined)[] = [];
    for (const slice of slices(requests)) {
      const numbers = asArray(
        await this.#run(scripts.dispatch, this.#recordKeys(slice), [
          fence,
          ...slice.flatMap((request) => [
            request.id,
            String(request.messageGeneration),
            request.destination.transport,
            request.destination.nexthop,
            packNumbers(request.recipients),
            request.destination.site ?? "",
          ]),
        ]),
      );
      for (const [i, request] of slice.entries()) {
        const number = asNumber(numbers[i]);
        names.push(number < 0 ? undefined : { id: request.id, number, generation: 1 });
      }
    }
    return names;
  }

  ringDelivery(bell: DeliveryBell): Promise<boolean> {
    const { bells } = this.#parts;
    return bells.tryRing(bells.ringDelivery(bell));
  }

  async renewRequests(
    fence: Fence,
    names: readonly RequestName[],
  ): Promise<readonly (RequestName | undefined)[]> {
    const generations = asArray(
      await this.#run(scripts.renew, this.#recordKeys(names), [
        fence,
        ...names.flatMap(requestArguments),
      ]),
    );
    return names.map((name, i) => {
      const generation = asNumber(generations[i]);
      return generation < 0 ? undefined : { ...name, generation };
    });
  }

  async inspectRequests(
    names: readonly RequestName[],
  ): Promise<readonly (OpenRequest | undefined)[]> {
    const texts = asArray(
      await this.#run(
        scripts.inspect,
        this.#recordKeys(names),
        names.flatMap((name) => [name.id, String(name.number)]),
      ),
    );
    return names.map((name, i) => unpackRequest(name.id, name.number, asText(texts[i])));
  }

  async reap(fence: Fence, names: readonly RequestName[], ambiguous: "retry" | "hold") {
    const answers = asArray(
      await this.#run(scripts.reap, this.#recordKeys(names), [
        fence,
        this.#parts.heartbeatMs,
        ambiguous,
        ambiguousText,
        ...names.flatMap(requestArguments),
      ]),
    );
    return answers.map((answer) =>
      asWord(answer, ["reaped", "ambiguous", "alive", "gone"] as const),
    );
  }

  async settle(fence: Fence, settlements: readonly Settlement[]): Promise<readonly SettleAnswer[]> {
    const answers: SettleAnswer[] = [];
    for (const slice of slices(settlements)) {
      const reply = asArray(
        await this.#run(scripts.settle, this.#recordKeys(slice), [
          fence,
          ...slice.flatMap(settleArguments),
        ]),
      );
      for (const answer of reply) answers.push(asWord(answer, ["done", "stale", "unfinished"]));
    }
    for (const [i, settlement] of settlements.entries()) {
      if (settlement.action === "report" && answers[i] === "done") {
        const { bells } = this.#parts;
        bells.ringAndForget(bells.ring("bounce", settlement.id));
      }
    }
    return answers;
  }

  async recordOutcomes(id: QueueId, outcomes: readonly RecipientOutcome[]): Promise<void> {
    for (const slice of slices(outcomes)) {
      await this.#run(
        scripts.recordOutcomes,
        [this.#parts.keys.record(id)],
        [id, ...slice.flatMap(outcomeArguments)],
      );
    }
  }

  async survey(): Promise<Survey> {
    const [capacity, ...workers] = asArray(
      await this.#run(scripts.survey, [this.#parts.keys.workers], [forgetWorkerMs]),
    );
    return { capacity: asNumber(capacity), liveWorkers: workers.map(asText) };
  }

  async reopenActive(fence: Fence): Promise<number> {
    const index = this.#parts.keys.byEntry("active");
    // A message that ends term after term, though no process dies of it, is counted in the end.
    const survived = this.#shortTerms < mostShortTerms ? this.#ledLast : "";
    let moved = 0;
    for (;;) {
      const step = asNumber(
        await this.#run(scripts.reopen, [index], [fence, reopenStep, survived]),
      );
      if (step === 0) return moved;
      moved += step;
    }
  }

  async pendingFlush(): Promise<number | undefined> {
    const moment = await this.#ask((redis) => redis.get(this.#parts.keys.flush));
    return moment === null ? undefined : Number(moment);
  }

  async endFlush(fence: Fence, requestedMs: number): Promise<void> {
    await this.#run(scripts.endFlush, [], [fence, requestedMs]);
  }

  async recall(fence: Fence, destination: string, most: number): Promise<Recalled> {
    let found = 0;
    let left = 0;
    while (found < most) {
      const wanted = Math.min(most - found, mostPerScript);
      const reply = asArray(await this.#run(scripts.recall, [], [fence, destination, wanted]));
      found += asNumber(reply[0]);
      left = asNumber(reply[2]);
      if (asNumber(reply[1]) < wanted) break;
    }
    return { found, left };
  }

  async unthrottledMs(): Promise<number | undefined> {
    const moment = await this.#ask((redis) => redis.get(this.#parts.keys.unthrottled));
    return moment === null ? undefined : Number(moment);
  }

  async mendDue(fence: Fence, cursor: string): Promise<string | undefined> {
    const index = this.#parts.keys.byEntry("deferred");
    const next = asText(await this.#run(scripts.mendDue, [index], [fence, cursor, mostPerScript]));
    return next === "" ? undefined : next;
  }

  async publish(fence: Fence, report: Parameters<Scheduling["publish"]>[1]): Promise<void> {
    const { keys } = this.#parts;
    const scheduler = JSON.stringify(report.scheduler);
    const changed = slices(report.changed);
    // At least one script: the leader tells of itself though no destination changed.
    for (let i = 0; i < Math.max(1, changed.length); i += 1) {
      const some = changed[i] ?? [];
      await this.#run(
        scripts.publish,
        [keys.destinations, keys.scheduler],
        [
          fence,
          scheduler,
          schedulerLifeMs,
          some.length,
          ...some.flatMap((one) => [one.name, JSON.stringify(one)]),
          ...(i === 0 ? report.gone : []),
        ],
      );
    }
  }

  async readDestinations(): Promise<readonly DestinationReport[]> {
    const found = new Map<string, DestinationReport>();
    let cursor = "0";
    do {
      const [next, flat] = await this.#ask((redis) =>
        redis.hscan(this.#parts.keys.destinations, cursor, "COUNT", mostPerScript),
      );
      for (const report of readScanned(flat)) found.set(report.name, report);
      cursor = next;
    } while (cursor !== "0");
    return [...found.values()];
  }

  startEvents(): Promise<void> {
    return this.#stream.start();
  }

  readEvents(waitMs: number): Promise<LeaderEvents> {
    return this.#stream.read(waitMs);
  }

  async sweep(fence: Fence, olderThanMs: number): Promise<number> {
    if ((await this.#ask((redis) => redis.get(this.#parts.keys.fence))) !== fence) {
      throw storeError(new Error("FENCED"));
    }
    const indexes = {
      maildrop: this.#parts.keys.byEntry("maildrop"),
      bounce: this.#parts.keys.owed,
    };
    let rung = 0;
    for (const queue of ["maildrop", "bounce"] as const) {
      const ids = asArray(
        await this.#run(scripts.sweep, [indexes[queue]], [olderThanMs, mostSwept]),
      );
      const checked = ids.map(checkedId).filter((id) => id !== undefined);
      const { bells } = this.#parts;
      await Promise.all(checked.map((id) => bells.tryRing(bells.ring(queue, id))));
      rung += checked.length;
    }
    return rung;
  }

  ringAt(dueMs: number): Promise<boolean> {
    const { bells, monitor } = this.#parts;
    return bells.tryRing(bells.ringAt("deferred", dueMs, monitor.nowMs()));
  }

  async counts(): Promise<{ readonly incoming: number; readonly due: number }> {
    const { keys, monitor } = this.#parts;
    const [incoming, due] = await this.#ask((redis) =>
      Promise.all([
        redis.zcard(keys.byEntry("incoming")),
        redis.zcount(keys.due, "-inf", monitor.nowMs()),
      ]),
    );
    return { incoming, due };
  }
}

function requestArguments(name: RequestName): string[] {
  return [name.id, String(name.number), String(name.generation)];
}

function settleArguments(settlement: Settlement): string[] {
  const head = [settlement.id, String(settlement.generation), settlement.action];
  switch (settlement.action) {
    case "remove":
      return [...head, "", "", ""];
    case "defer":
      return [
        ...head,
        String(Math.ceil(settlement.dueMs)),
        settlement.countAttempt ? "1" : "",
        settlement.surplusOf ?? "",
      ];
    case "report":
      return [...head, settlement.kind, "", ""];
    case "corrupt":
      return [...head, settlement.reason, "", ""];
    default:
      return settlement satisfies never;
  }
}
