/**
 * Messages on their way into the active queue that wait a moment until the sites of their next hops are known
 * (`destination_grouping = mx`).
 *
 * They wait beside all others: whoever goes to sites that are known passes them. What happens to a message meanwhile
 * (its requests end, somebody else takes it away) is told after it is in, in the same order; so for the active queue it
 * just came a little later. No message waits longer than a lookup may take (sites.ts).
 *
 * Source: postmq; spec S16.
 */
import type { ImportedMessage, LeaderEvent } from "@postmq/queue-store";
import { destinationOf } from "@postmq/routing";
import type { RoutingRules, Sites } from "@postmq/routing";
import type { Envelope, QueueId, StoredRecipient } from "@postmq/vocabulary";

export type SiteWaitParts = {
  readonly sites: Pick<Sites, "prepare">;
  readonly rules: RoutingRules;
  /** Takes a message that has waited, then what happened to it meanwhile. */
  readonly onReady: (arrival: Arrival, events: readonly LeaderEvent[]) => void;
};

export type Arrival = {
  readonly message: ImportedMessage;
  /** It is due because of a flush. */
  readonly isFlushed: boolean;
};

type Waiting = { readonly arrival: Arrival; readonly events: LeaderEvent[] };

export class SiteWait {
  readonly #parts: SiteWaitParts;
  readonly #waiting = new Map<QueueId, Waiting>();
  #recipients = 0;

  constructor(parts: SiteWaitParts) {
    this.#parts = parts;
  }

  get size(): number {
    return this.#waiting.size;
  }

  get recipients(): number {
    return this.#recipients;
  }

  /** @returns false: nothing is to be waited for */
  hold(arrival: Arrival): boolean {
    const { message } = arrival;
    const { id, envelope, recipients } = message;
    // It was in active before, and that stay comes to its end first.
    const earlier = this.#waiting.get(id);
    if (earlier !== undefined) this.#release(earlier);
    const known = this.prepare(envelope, recipients);
    if (known === undefined) return false;
    const waiting: Waiting = { arrival, events: [] };
    this.#waiting.set(id, waiting);
    this.#recipients += recipients.length;
    // Owned here: the lookups never reject, and a failure of the release is a bug that ends the process.
    void known.then(() => this.#release(waiting));
    return true;
  }

  /** Looks up sites for some recipients. @returns undefined: they are known */
  prepare(
    envelope: Pick<Envelope, "sender" | "contentFilter">,
    recipients: readonly StoredRecipient[],
  ): Promise<void> | undefined {
    const { rules, sites } = this.#parts;
    return sites.prepare(recipients.map(({ address }) => destinationOf(address, envelope, rules)));
  }

  /** @returns false: it is about no message that waits */
  holdEvent(event: LeaderEvent): boolean {
    const id = idOf(event);
    const waiting = id === undefined ? undefined : this.#waiting.get(id);
    waiting?.events.push(event);
    return waiting !== undefined;
  }

  #release(waiting: Waiting): void {
    const { arrival, events } = waiting;
    const { id, recipients } = arrival.message;
    if (this.#waiting.get(id) !== waiting) return;
    this.#waiting.delete(id);
    this.#recipients -= recipients.length;
    this.#parts.onReady(arrival, events);
  }
}

function idOf(event: LeaderEvent): QueueId | undefined {
  switch (event.kind) {
    case "ended":
      return event.request.id;
    case "left":
    case "reported":
      return event.id;
    case "flush":
    case "unthrottle":
      return undefined;
    default:
      return event satisfies never;
  }
}
