/**
 * A selection: which messages a listing shows or an operation works on. One grammar for command line and HTTP.
 *
 * Every part that is there must hold; lists within a part are alternatives. An empty selection means all messages, and
 * whoever changes anything by one asks for `all` besides.
 *
 * Source: spec http-api.md §2, sendmail-queue.md §5.
 */
import type { MessageQueue, QueueId } from "@postmq/vocabulary";

/** Both ends included. */
export type Range = { readonly least?: number; readonly most?: number };

/** sendmail's -qI, -qR, -qS, and the same with `!`: a text that is in it, whatever its case. */
export type Contains = {
  readonly of: "id" | "sender" | "recipient";
  readonly text: string;
  readonly isNot: boolean;
};

export type Selection = {
  readonly queues?: readonly MessageQueue[];
  readonly ids?: readonly QueueId[];
  /** Envelope sender; the empty text is the null sender. The domain in any case. */
  readonly sender?: string;
  readonly senderDomain?: string;
  /** Address of a recipient that is not done. */
  readonly recipient?: string;
  /** Domain of a recipient that is not done. */
  readonly domain?: string;
  /** Name or address of the client that handed it in. */
  readonly client?: string;
  readonly arrivedFromMs?: number;
  readonly arrivedToMs?: number;
  readonly attempts?: Range;
  readonly sizeBytes?: Range;
  /** RE2 pattern, sought in the reasons of deferral and in that of corrupt. */
  readonly reason?: string;
  /** AND across kinds, OR within a kind (sendmail-queue.md §5). */
  readonly contains?: readonly Contains[];
};
