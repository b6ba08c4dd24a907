/**
 * What one transaction with a server means for each recipient that was named in it, and for the site.
 *
 * Source: spec D6, D7, D11, D31, delivery.md §2, §6; faults.md 26, 30; Postfix src/smtp/smtp_trouble.c, smtp_rcpt.c.
 */
import { enhancedStatus, isPostmqError } from "@postmq/vocabulary";
import type { StoredRecipient, SuccessAction } from "@postmq/vocabulary";

import { brokenReason, refusalOf, sentStatus } from "../session/reply-verdict.ts";
import { shownHost } from "../session/smtp-session.ts";
import type { SmtpSession, Transaction } from "../session/smtp-session.ts";
import type { AttemptState } from "./attempt-state.ts";

export type OnNotice = (level: "info" | "warning", text: string) => void;

/** The dot was not approved, or the content can't be read: no server is to blame. @returns whether it was so */
export function applyOwnTrouble(
  state: AttemptState,
  { contentError, isDotRefused }: Transaction,
  onNotice: OnNotice,
): boolean {
  if (isDotRefused) state.end = "putBack";
  else if (isPostmqError(contentError, "PMQ_MESSAGE_UNREADABLE")) {
    state.end = "unreadable";
    state.unreadableReason = contentError.message;
  } else if (contentError !== undefined) {
    state.end = "putBack";
    const why = contentError instanceof Error ? contentError.message : "unknown trouble";
    onNotice("warning", `content could not be read: ${why}`);
  }
  return state.end !== "tried";
}

/** @returns those for whom a further transaction over this session is worth while (faults.md 30). */
export function applyVerdicts(
  state: AttemptState,
  facts: {
    readonly session: SmtpSession;
    readonly asked: readonly StoredRecipient[];
    readonly transaction: Transaction;
    /** What is owed to the sender of a recipient that was sent (D31). */
    readonly owedFor: (
      recipient: StoredRecipient,
      session: SmtpSession,
    ) => SuccessAction | undefined;
    readonly onNotice: OnNotice;
  },
): readonly StoredRecipient[] {
  const { session, asked, transaction } = facts;
  const { verdicts, broken } = transaction;
  const host = shownHost(session.server);
  const tooMany: StoredRecipient[] = [];
  let hasSent = false;
  let isWhole = true;
  asked.forEach((recipient, index) => {
    const verdict = verdicts[index];
    if (verdict?.kind === "sent") {
      hasSent = true;
      const { text } = verdict.reply;
      const owed = facts.owedFor(recipient, session);
      const sent = { kind: "sent", status: sentStatus(verdict.reply), reason: text } as const;
      const debt = owed === undefined ? {} : { owesReport: owed };
      state.report(recipient, { ...sent, reply: text, ...debt }, session);
    } else if (verdict?.kind === "refused") {
      const { reply, stage } = verdict;
      const refusal = refusalOf(reply, host, stage);
      const kind = refusal.isPermanent ? "failed" : "deferred";
      state.report(recipient, { kind, ...refusal, reply: reply.text }, session);
      if (reply.code === 421) isWhole = false;
      if (reply.code === 452 && stage === "rcpt") tooMany.push(recipient);
    } else {
      isWhole = false;
      const { how, stage } = broken ?? lostAtMail;
      const reason = brokenReason(how, host, stage);
      state.report(recipient, { kind: "deferred", status: lostStatus, reason }, session);
    }
  });
  if (isWhole) state.isCompleted = true;
  else noteBroken(state, host, transaction, facts.onNotice);
  return hasSent && session.isReusable ? tooMany : [];
}

function noteBroken(
  state: AttemptState,
  host: string,
  { broken, verdicts }: Transaction,
  onNotice: OnNotice,
): void {
  const closing = verdicts.find(
    (verdict) => verdict.kind === "refused" && verdict.reply.code === 421,
  );
  if (closing?.kind === "refused") {
    const { status, reason } = refusalOf(closing.reply, host, closing.stage);
    state.trouble = { status, reason };
    return;
  }
  const { how, stage } = broken ?? lostAtMail;
  const reason = brokenReason(how, host, stage);
  state.trouble = { status: lostStatus, reason };
  if (stage === "dot") onNotice("warning", reason);
}

const lostAtMail = { how: "lost", stage: "mail" } as const;
const lostStatus = enhancedStatus("4.4.2");
