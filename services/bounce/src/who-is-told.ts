/**
 * Which failures and delays a sender is told of, and whether there is a sender to tell.
 *
 * Source: spec D28, D29, D30; RFC 3461 §4.1 (NOTIFY), RFC 5321 §4.5.5 (null reverse-path).
 */
import type { ReportKind } from "@postmq/queue-store";
import type { Recipient } from "@postmq/vocabulary";

/** Without NOTIFY failures and delays are told; with it, only what is among its words (D30). */
export function wantsReport(recipient: Pick<Recipient, "notify">, kind: ReportKind): boolean {
  const { notify } = recipient;
  if (notify === undefined || notify.length === 0) return true;
  return notify.includes(kind === "delay" ? "DELAY" : "FAILURE");
}

/**
 * Why no report goes to this sender, or undefined when one may.
 *
 * The null sender never gets one: its mail is a report itself, and answering reports with reports has no end.
 */
export function whyNobodyIsTold(
  sender: string,
  names: { readonly myorigin: string; readonly doubleBounceSender: string },
): string | undefined {
  const address = sender.toLowerCase();
  const origin = names.myorigin.toLowerCase();
  if (address === "" || address === "mailer-daemon" || address === `mailer-daemon@${origin}`) {
    return "its sender is the null address";
  }
  const doubleBounce = names.doubleBounceSender.toLowerCase();
  if (address === doubleBounce || address === `${doubleBounce}@${origin}`) {
    return "it is a notice to the postmaster itself";
  }
  return undefined;
}
