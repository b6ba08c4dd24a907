/**
 * The answer of `explain` as the HTTP API shows it.
 *
 * Source: spec http-api.md §2.
 */
import type { DestinationReason, Explanation } from "@postmq/queue-admin";

import { optionalSeconds } from "./seconds.ts";

export function explainView(explanation: Explanation): object {
  const { id, queue, cause, sentence, sinceMs, untilMs, destination, details } = explanation;
  return {
    id,
    queue,
    cause,
    sentence,
    ...optionalSeconds("since", sinceMs),
    ...optionalSeconds("until", untilMs),
    ...(destination === undefined ? {} : { destination }),
    details: details.map(detailView),
  };
}

function detailView(detail: DestinationReason): object {
  const { destination, recipients, cause, sentence, sinceMs, untilMs } = detail;
  const { lastReason, worker, load } = detail;
  return {
    destination,
    recipients,
    cause,
    sentence,
    ...optionalSeconds("since", sinceMs),
    ...optionalSeconds("until", untilMs),
    ...(lastReason === undefined ? {} : { last_reason: lastReason }),
    ...(worker === undefined ? {} : { worker }),
    ...(load === undefined
      ? {}
      : {
          window: load.window,
          limit: load.limit,
          in_flight: load.inFlight,
          waiting: load.waiting,
        }),
  };
}
