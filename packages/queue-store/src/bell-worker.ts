/**
 * A BullMQ worker that does not run in circles when Redis refuses its fetch.
 *
 * After an error that is not one of the connection BullMQ fetches again at once, for as long as it believes that
 * jobs wait: at Redis's memory limit thousands of times a second. Here each refused fetch is followed by a rest.
 *
 * Source: BullMQ 6.7 Worker.retryIfFailed; faults.md 17.
 */
import { setTimeout as delay } from "node:timers/promises";
import { Worker } from "bullmq";

/** Also BullMQ's own rest after a lost connection. */
export const fetchRestMs = 1000;

export class BellWorker<Data> extends Worker<Data, void> {
  protected override async moveToActive(...args: Parameters<Worker<Data, void>["moveToActive"]>) {
    try {
      return await super.moveToActive(...args);
    } catch (error) {
      await delay(fetchRestMs);
      throw error;
    }
  }
}
