/**
 * The account of a run: what was accepted, against what came of it.
 *
 * Each (message, recipient) that was answered 250, 202 or exit 0 must end with exactly one outcome: delivered, or
 * reported to its sender. More copies of a delivery are allowed only where the test says why (spec faults.md).
 */
import { waitFor } from "./wait-for.ts";

export type LedgerReport = {
  readonly accepted: number;
  /** Accepted ones; reports, which are mail too, don't count. */
  readonly delivered: number;
  readonly bounced: number;
  /** Accepted, but neither delivered nor bounced. */
  readonly lost: readonly string[];
  /** Delivered more than once: which, and how many copies beyond the first. */
  readonly duplicates: ReadonlyMap<string, number>;
  /** Both delivered and bounced, or bounced twice. */
  readonly contradictions: readonly string[];
  /** Came out but was never accepted. Lawful only when the client never saw the reply to its dot. */
  readonly unknown: readonly string[];
};

export class Ledger {
  readonly #accepted = new Set<string>();
  readonly #unanswered = new Set<string>();
  readonly #delivered = new Map<string, number>();
  readonly #bounced = new Map<string, number>();

  /** The system has taken over responsibility for this recipient of this message. */
  accept(message: string, recipient: string): void {
    this.#accepted.add(key(message, recipient));
  }

  /** Handed in, but the answer never came: it may or may not be delivered. */
  leaveOpen(message: string, recipient: string): void {
    this.#unanswered.add(key(message, recipient));
  }

  /** @returns how many copies there are now. */
  deliver(message: string, recipient: string): number {
    return count(this.#delivered, key(message, recipient));
  }

  bounce(message: string, recipient: string): void {
    count(this.#bounced, key(message, recipient));
  }

  get accepted(): number {
    return this.#accepted.size;
  }

  /** Accepted ones that have an outcome. */
  get settled(): number {
    return [...this.#accepted].filter((entry) => this.#hasOutcome(entry)).length;
  }

  report(): LedgerReport {
    const outcomes = new Set([...this.#delivered.keys(), ...this.#bounced.keys()]);
    return {
      accepted: this.#accepted.size,
      delivered: this.#countAccepted(this.#delivered),
      bounced: this.#countAccepted(this.#bounced),
      lost: [...this.#accepted].filter((entry) => !this.#hasOutcome(entry)),
      duplicates: new Map(
        [...this.#delivered].filter(([, copies]) => copies > 1).map(([entry, n]) => [entry, n - 1]),
      ),
      contradictions: [...this.#bounced]
        .filter(([entry, reports]) => reports > 1 || this.#delivered.has(entry))
        .map(([entry]) => entry),
      unknown: [...outcomes].filter(
        (entry) => !this.#accepted.has(entry) && !this.#unanswered.has(entry),
      ),
    };
  }

  /** Waits until every accepted recipient has an outcome. @throws Error that names the lost ones. */
  async settle(options: {
    /** Default 120 000. */
    readonly timeoutMs?: number;
    /** Enters new deliveries and bounces; called at each look. */
    readonly refresh?: () => void | Promise<void>;
    /** More for the message of a failure, e.g. the latest log lines. */
    readonly describe?: () => string;
  }): Promise<LedgerReport> {
    await waitFor(
      async () => {
        await options.refresh?.();
        return this.report().lost.length === 0;
      },
      {
        timeoutMs: options.timeoutMs ?? 120_000,
        everyMs: 100,
        describe: () => {
          const { lost, accepted } = this.report();
          const sample = lost.slice(0, 5).join(", ");
          return `an outcome of ${lost.length} of ${accepted} accepted recipients: ${sample} …\n${options.describe?.() ?? ""}`;
        },
      },
    );
    return this.report();
  }

  #countAccepted(outcomes: ReadonlyMap<string, number>): number {
    return [...outcomes.keys()].filter((entry) => this.#accepted.has(entry)).length;
  }

  #hasOutcome(entry: string): boolean {
    return this.#delivered.has(entry) || this.#bounced.has(entry);
  }
}

function key(message: string, recipient: string): string {
  return `${message} ${recipient.toLowerCase()}`;
}

function count(into: Map<string, number>, entry: string): number {
  const counted = (into.get(entry) ?? 0) + 1;
  into.set(entry, counted);
  return counted;
}
