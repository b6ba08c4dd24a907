/** Skeleton. */
import { panic } from "@postmq/vocabulary";
import type { QueueId } from "@postmq/vocabulary";
import type { Operating } from "./contract.ts";
import type { StoreParts } from "./store-parts.ts";

export class OperatingStore implements Operating {
  readonly #parts: StoreParts;

  constructor(parts: StoreParts) {
    this.#parts = parts;
  }

  flushAll(): Promise<void> {
    return panic(`not yet ${this.#parts.worker}`);
  }

  flushSite(domain: string): Promise<number> {
    return panic(`not yet ${domain}`);
  }

  flushMessage(id: QueueId): Promise<"moved" | "not deferred"> {
    return panic(`not yet ${id}`);
  }
}
