/**
 * Natural batching: while up to `lanes` calls are out, whatever arrives waits and then goes as one call.
 *
 * No timer and no added wait when idle; under load one round trip carries many items. It is the whole performance
 * story of the store (PROTOTYPE §3).
 */
type Waiting<Item, Answer> = {
  readonly item: Item;
  readonly resolve: (answer: Answer) => void;
  readonly reject: (error: unknown) => void;
};

export type CoalescerOptions<Item> = {
  readonly lanes: number;
  readonly maxItems: number;
  /** Bytes that an item adds to a call, with the most that one call may carry. */
  readonly weight?: { readonly of: (item: Item) => number; readonly max: number };
};

export class Coalescer<Item, Answer> {
  readonly #call: (items: readonly Item[], lane: number) => Promise<readonly Answer[]>;
  readonly #options: CoalescerOptions<Item>;
  readonly #idleLanes: number[];
  #waiting: Waiting<Item, Answer>[] = [];

  /** @param call answers one value per item, in order; a rejection rejects every item of the call. */
  constructor(
    call: (items: readonly Item[], lane: number) => Promise<readonly Answer[]>,
    options: CoalescerOptions<Item>,
  ) {
    this.#call = call;
    this.#options = options;
    this.#idleLanes = Array.from({ length: options.lanes }, (_, lane) => lane);
  }

  /** Items that wait for a lane. */
  get waiting(): number {
    return this.#waiting.length;
  }

  add(item: Item): Promise<Answer> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ item, resolve, reject });
      this.#pump();
    });
  }

  #take(): Waiting<Item, Answer>[] {
    const { maxItems, weight } = this.#options;
    let count = Math.min(this.#waiting.length, maxItems);
    if (weight !== undefined) {
      let sum = 0;
      for (let i = 0; i < count; i += 1) {
        const entry = this.#waiting[i];
        sum += entry === undefined ? 0 : weight.of(entry.item);
        if (sum > weight.max && i > 0) {
          count = i;
          break;
        }
      }
    }
    if (count === this.#waiting.length) {
      const all = this.#waiting;
      this.#waiting = [];
      return all;
    }
    return this.#waiting.splice(0, count);
  }

  #pump(): void {
    while (this.#waiting.length > 0) {
      const lane = this.#idleLanes.pop();
      if (lane === undefined) return;
      const batch = this.#take();
      this.#call(
        batch.map((entry) => entry.item),
        lane,
      )
        .then(
          (answers) => {
            for (const [i, entry] of batch.entries()) {
              const answer = answers[i];
              if (answer === undefined) entry.reject(new Error("a batch answered too few items"));
              else entry.resolve(answer);
            }
          },
          (error: unknown) => {
            for (const entry of batch) entry.reject(error);
          },
        )
        .finally(() => {
          this.#idleLanes.push(lane);
          this.#pump();
        });
    }
  }
}
