/**
 * Opening messages under a claim, for cleanup and bounce; and who may be open beside whom.
 *
 * A message whose reader died is opened only while nothing else is open in this process, so that a poisoned one can't
 * count crashes against its neighbours; after `crashLimit` crashes alone it goes to corrupt.
 *
 * Source: DESIGN §3 "A message whose worker crashed"; faults 4, 39, 40.
 */
import { isPostmqError, panic } from "@postmq/vocabulary";
import type { QueueId } from "@postmq/vocabulary";
import type { NotOpened, OpenedMessage, ReportKind } from "./contract.ts";
import { reportKinds } from "./contract.ts";
import { startHeartbeat } from "./heartbeat.ts";
import { parseEnvelope } from "./packing.ts";
import { storeError } from "./redis-connection.ts";
import { asArray, asNumber, asRecipients, asText, asWord } from "./script-reply.ts";
import { loadScript, runScript } from "./script.ts";
import type { StoreParts } from "./store-parts.ts";

const openMessage = loadScript("open-message");
const readRecipients = loadScript("read-recipients");
const giveBack = loadScript("give-back");
const parkCorrupt = loadScript("park-corrupt");

const recipientsPerRead = 1000;
const giveBackRetryMs = 1000;

/** Many may be open together, or one alone. */
class AloneGate {
  #open = 0;
  #isAlone = false;
  #waiting: { readonly alone: boolean; readonly go: () => void }[] = [];

  enter(alone: boolean): Promise<void> {
    return new Promise((go) => {
      this.#waiting.push({ alone, go });
      this.#admit();
    });
  }

  leave(): void {
    this.#open -= 1;
    this.#isAlone = false;
    this.#admit();
  }

  #admit(): void {
    for (let first = this.#waiting[0]; first !== undefined; first = this.#waiting[0]) {
      if (this.#isAlone || (first.alone && this.#open > 0)) return;
      this.#waiting.shift();
      this.#open += 1;
      this.#isAlone = first.alone;
      first.go();
    }
  }
}

export type Opened = OpenedMessage & {
  readonly reportKind?: ReportKind;
  /** Failed, undone and unreported sent recipients when it was read, for the script that checks that it is still so. */
  readonly counts: string;
};

/** Which recipients a report of that kind is about, in the words of read-recipients. */
function recipientsOf(kind: ReportKind): string {
  switch (kind) {
    case "failure":
      return "unreported";
    case "expired":
      return "owed";
    case "delay":
      return "deferred";
    case "success":
      return "succeeded";
    default:
      return kind satisfies never;
  }
}

export class MessageOpener {
  readonly #parts: StoreParts;
  readonly #kind: "clean" | "report";
  readonly #gate = new AloneGate();
  readonly #mine = new Set<QueueId>();
  readonly #heartbeat: Promise<void>;

  constructor(parts: StoreParts, kind: "clean" | "report") {
    this.#parts = parts;
    this.#kind = kind;
    this.#heartbeat = startHeartbeat(parts);
    this.#heartbeat.catch(() => undefined); // open() awaits it and sees the failure
  }

  /** Two rings may name one message at once: the second finds it busy, from before Redis is asked. */
  async open(id: QueueId): Promise<Opened | NotOpened> {
    if (this.#mine.has(id)) return "busy";
    this.#mine.add(id);
    let answer: Opened | NotOpened | "alone" = "busy";
    try {
      await this.#heartbeat;
      answer = await this.#tryOpen(id, false);
      if (answer === "alone") answer = await this.#openAlone(id);
      return answer;
    } catch (error) {
      throw storeError(error);
    } finally {
      if (typeof answer !== "object") this.#mine.delete(id);
    }
  }

  async #openAlone(id: QueueId): Promise<Opened | NotOpened> {
    const answer = await this.#tryOpen(id, true);
    return answer === "alone" ? panic("a message wants to be alone twice") : answer;
  }

  async #tryOpen(id: QueueId, alone: boolean): Promise<Opened | NotOpened | "alone"> {
    await this.#gate.enter(alone);
    let isOpen = false;
    try {
      const answer = await this.#ask(id, alone);
      isOpen = typeof answer === "object";
      return answer;
    } finally {
      if (!isOpen) this.#gate.leave();
    }
  }

  async #ask(id: QueueId, alone: boolean): Promise<Opened | NotOpened | "alone"> {
    const { keys, worker, heartbeatMs, redis, crashLimit } = this.#parts;
    const reply = asArray(
      await runScript(
        redis,
        openMessage,
        [keys.record(id)],
        [keys.prefix, id, this.#kind, worker, heartbeatMs, alone ? "1" : "", crashLimit],
      ),
    );
    const word = asWord(reply[0], ["opened", "busy", "stale", "alone", "limit", "unreadable"]);
    if (word === "limit")
      return this.#park(id, `its reader crashed ${crashLimit} times with it alone`);
    if (word === "unreadable") return this.#park(id, "unreadable record");
    if (word !== "opened") return word;
    try {
      return await this.#read(id, reply);
    } catch (error) {
      if (!isPostmqError(error, "PMQ_MESSAGE_UNREADABLE")) throw error;
      return this.#park(id, error.message, asText(reply[1]));
    }
  }

  async #read(id: QueueId, reply: readonly unknown[]): Promise<Opened> {
    const [
      ,
      generation,
      arrival,
      envelope,
      content,
      size,
      chunks,
      total,
      failures,
      successes,
      kind,
      counts,
      firstNumber,
    ] = reply;
    const rounds = { failures: asNumber(failures), successes: asNumber(successes) };
    const { keys, redis } = this.#parts;
    const recipients = [];
    for (let from = 0; from >= 0 && from < asNumber(total);) {
      const page = asArray(
        await runScript(
          redis,
          readRecipients,
          [keys.record(id)],
          [
            keys.prefix,
            id,
            from,
            recipientsPerRead,
            this.#kind === "clean" ? "open" : recipientsOf(asWord(kind, reportKinds)),
          ],
        ),
      );
      from = asNumber(page[0]);
      recipients.push(...asRecipients(page[1], rounds));
    }
    return {
      id,
      generation: asNumber(generation),
      arrivalMs: asNumber(arrival),
      envelope: parseEnvelope(asText(envelope)),
      recipients,
      content: { contentId: asText(content), sizeBytes: asNumber(size), chunks: asNumber(chunks) },
      counts: asText(counts),
      firstNumber: asNumber(firstNumber),
      ...(kind === "" ? {} : { reportKind: asWord(kind, reportKinds) }),
    };
  }

  /** @param generation as it was opened: an operator may have deleted or requeued it since, which is no damage */
  async #park(id: QueueId, reason: string, generation = ""): Promise<"parked" | "stale"> {
    const { keys, redis } = this.#parts;
    const args = [keys.prefix, id, reason, "", generation];
    const answer = await runScript(redis, parkCorrupt, [keys.record(id)], args);
    if (asWord(answer, ["moved", "stale"]) === "stale") return "stale";
    this.#parts.notice("error", `${id}: moved to corrupt: ${reason}`);
    return "parked";
  }

  async park(opened: OpenedMessage, reason: string): Promise<"parked" | "stale"> {
    try {
      return await this.#park(opened.id, reason, String(opened.generation));
    } catch (error) {
      throw storeError(error);
    } finally {
      this.close(opened.id);
    }
  }

  async giveBack(opened: { readonly id: QueueId }): Promise<void> {
    const { keys, redis, worker } = this.#parts;
    try {
      await runScript(redis, giveBack, [keys.record(opened.id)], [keys.prefix, worker]);
      this.close(opened.id);
    } catch (error) {
      // While this process lives its claim stands, and nobody else would look: so it is given back later.
      this.#giveBackLater(opened.id);
      throw storeError(error);
    }
  }

  #giveBackLater(id: QueueId): void {
    const { keys, redis, worker } = this.#parts;
    const timer = setTimeout(() => {
      if (!this.#mine.has(id)) return;
      // Owned here: success ends the matter, failure tries again.
      void runScript(redis, giveBack, [keys.record(id)], [keys.prefix, worker]).then(
        () => this.close(id),
        () => this.#giveBackLater(id),
      );
    }, giveBackRetryMs);
    timer.unref();
    this.#parts.onClose(() => clearTimeout(timer));
  }

  /** The message is no longer open in this process. */
  close(id: QueueId): void {
    if (this.#mine.delete(id)) this.#gate.leave();
  }
}
