/**
 * What came of a delivery request: one outcome for each recipient, and what the request says about its destination.
 *
 * An outcome is a fact about (message, recipient) and is recorded whatever else happened to the message meanwhile;
 * what is said about the request counts only from its current generation (DESIGN §3).
 *
 * Source: spec delivery.md §6; DESIGN §3 "Outcomes are facts".
 */
import type { EnhancedStatus } from "./enhanced-status.ts";
import type { RemoteReply, SuccessAction } from "./message.ts";

export const outcomeKinds = ["sent", "deferred", "failed"] as const;
export type OutcomeKind = (typeof outcomeKinds)[number];

export type RecipientOutcome = {
  /** The recipient's number in its message. */
  readonly recipient: number;
  readonly kind: OutcomeKind;
  readonly status: EnhancedStatus;
  /** For sent: the remote reply; else the reason in Postfix's words, without outer parentheses. */
  readonly reason: string;
  readonly remote?: RemoteReply;
  /** Only for sent: a success report is owed, since the sender asked for one and nobody after us will write it (D31). */
  readonly owesReport?: SuccessAction;
};

/** What a request says about its destination's health: trouble slows it or marks it dead (S26). */
export type SiteFeedback =
  | { readonly kind: "good" }
  | { readonly kind: "trouble"; readonly status: EnhancedStatus; readonly reason: string }
  | { readonly kind: "none" };

/** How a request ended. `putBack`: nothing was tried, no attempt counted. `unreadable`: the message can't be read. */
export const requestEnds = ["tried", "putBack", "unreadable"] as const;
export type RequestEnd = (typeof requestEnds)[number];
