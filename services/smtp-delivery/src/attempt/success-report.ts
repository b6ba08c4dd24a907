/**
 * Whether a success report is owed for a recipient that was sent, and what it says was done.
 *
 * A next hop that speaks DSN takes the duty over. Else the sender who asked for it hears that the message was relayed, or
 * delivered, where an LMTP server is taken for the last one. Who was warned of a delay and is to hear that it is over
 * hears so from us in any case: the next hop does not know of the warning.
 *
 * Source: spec D30, D31; RFC 3461 §5.2; postconf(5) confirm_delay_cleared, lmtp_assume_final; Postfix src/smtp/smtp_rcpt.c.
 */
import type { Recipient, SuccessAction } from "@postmq/vocabulary";

export type SuccessFacts = {
  readonly offersDsn: boolean;
  readonly isLmtp: boolean;
  /** lmtp_assume_final */
  readonly assumesFinal: boolean;
  /** The sender was warned of the delay, and confirm_delay_cleared is set. */
  readonly confirmsDelay: boolean;
};

export function successReportFor(
  { notify }: Pick<Recipient, "notify">,
  facts: SuccessFacts,
): SuccessAction | undefined {
  const isAskedFor = notify?.includes("SUCCESS") === true && !facts.offersDsn;
  const endsDelay =
    facts.confirmsDelay &&
    (notify === undefined || notify.length === 0 || notify.includes("DELAY"));
  if (!isAskedFor && !endsDelay) return undefined;
  return facts.isLmtp && facts.assumesFinal && !facts.offersDsn ? "delivered" : "relayed";
}
