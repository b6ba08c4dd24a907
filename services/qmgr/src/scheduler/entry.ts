/**
 * Recipients of one message for one destination: a delivery request that waits, or is out (S17).
 *
 * Source: spec S16, S17; Postfix src/qmgr/qmgr_entry.c.
 */
import type { Destination, StoredRecipient } from "@postmq/vocabulary";
import type { ActiveMessage } from "../message.ts";

export type Entry = {
  readonly message: ActiveMessage;
  readonly destination: Destination;
  /** The destination's name for limits (S16). */
  readonly queueName: string;
  readonly recipients: readonly StoredRecipient[];
  /** It waits for a place at its destination. */
  isQueued: boolean;
  /** Its peer counts it among those that are not over. */
  isOpen: boolean;
};
