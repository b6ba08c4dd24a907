/**
 * Completes envelope addresses: one without a domain gets `myorigin`, wherever it came from.
 *
 * An empty recipient becomes `empty_address_recipient`. The sender MAILER-DAEMON at `myorigin` becomes the null
 * sender, so that no report is ever sent to it.
 *
 * Source: spec R1 (1), R2, R3.
 */
import { addressDomain } from "@postmq/mail-format";
import type { CleanedRecipient, Draft, RewritingParameters } from "./cleaning.ts";

export function completeAddresses(draft: Draft): Draft {
  const parameters = draft.input.parameters;
  const sender = completeSender(draft.envelope.sender, parameters);
  return {
    ...draft,
    envelope: sender === draft.envelope.sender ? draft.envelope : { ...draft.envelope, sender },
    recipients: draft.recipients.map((recipient) => completeRecipient(recipient, parameters)),
  };
}

function completeSender(sender: string, parameters: RewritingParameters): string {
  if (sender === "") return "";
  const completed = completeAddress(sender, parameters.myorigin);
  return completed.toLowerCase() === `mailer-daemon@${parameters.myorigin.toLowerCase()}`
    ? ""
    : completed;
}

function completeRecipient(
  recipient: CleanedRecipient,
  parameters: RewritingParameters,
): CleanedRecipient {
  if (recipient.failed !== undefined) return recipient;
  const given = recipient.address;
  const address = completeAddress(
    given === "" ? parameters.empty_address_recipient : given,
    parameters.myorigin,
  );
  if (address === given) return recipient;
  return { ...recipient, address, original: recipient.original ?? given };
}

function completeAddress(address: string, myorigin: string): string {
  return addressDomain(address) === undefined ? `${address}@${myorigin}` : address;
}
