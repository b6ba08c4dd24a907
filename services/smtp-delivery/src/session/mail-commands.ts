/**
 * The envelope of a message as SMTP commands, with the extensions that the server offers.
 *
 * Source: spec D15, D16, D18, D20; RFC 1870 (SIZE); RFC 6152 (8BITMIME); RFC 3461 (DSN); RFC 6531 (SMTPUTF8);
 * RFC 8689 (REQUIRETLS).
 */
import { encodeXtext } from "@postmq/mail-format";
import type { Envelope, Recipient } from "@postmq/vocabulary";

/** What the EHLO reply offers: keyword in capitals to its parameters. Nothing after HELO. */
export type Offers = ReadonlyMap<string, string>;

/**
 * `AUTH=PLAIN` is how servers wrote it before it was a standard, and some still do besides the right form: both count.
 *
 * @param lines of the EHLO reply after the first, without codes
 */
export function parseOffers(lines: readonly string[]): Offers {
  const offers = new Map<string, string>();
  for (const line of lines) {
    const [word = "", ...parameters] = line.trim().split(/[\s=]+/);
    const keyword = word.toUpperCase();
    if (keyword === "AUTH") parameters.unshift(offers.get(keyword) ?? "");
    offers.set(keyword, parameters.join(" ").trim());
  }
  return offers;
}

/** The largest message the server takes, or undefined: no limit that it tells of. */
export function sizeLimit(offers: Offers): number | undefined {
  const limit = Number(offers.get("SIZE") ?? 0);
  return Number.isSafeInteger(limit) && limit > 0 ? limit : undefined;
}

export type MailFacts = {
  readonly envelope: Envelope;
  /** undefined: not known, since it is converted on the way (D15). */
  readonly sizeBytes: number | undefined;
  /** UTF-8 in the sender, a recipient or a header: SMTPUTF8 must be asked for. */
  readonly needsSmtputf8: boolean;
};

export function mailCommand(facts: MailFacts, offers: Offers): string {
  const { envelope } = facts;
  let command = `MAIL FROM:<${envelope.sender}>`;
  if (offers.has("SIZE") && facts.sizeBytes !== undefined) command += ` SIZE=${facts.sizeBytes}`;
  if (envelope.encoding !== undefined && offers.has("8BITMIME")) {
    command += envelope.encoding === "8bit" ? " BODY=8BITMIME" : " BODY=7BIT";
  }
  if (facts.needsSmtputf8 && offers.has("SMTPUTF8")) command += " SMTPUTF8";
  if (envelope.requireTls === true && offers.has("REQUIRETLS")) command += " REQUIRETLS";
  if (!offers.has("DSN")) return command;
  if (envelope.envid !== undefined) command += ` ENVID=${encodeXtext(envelope.envid)}`;
  if (envelope.ret !== undefined) command += ` RET=${envelope.ret}`;
  return command;
}

export function rcptCommand(recipient: Recipient, offers: Offers): string {
  const command = `RCPT TO:<${recipient.address}>`;
  if (!offers.has("DSN")) return command;
  const { notify, original } = recipient;
  const notifyPart = notify === undefined ? "" : ` NOTIFY=${notify.join(",")}`;
  const orcpt = recipient.orcpt ?? (original === undefined ? undefined : `rfc822;${original}`);
  return command + notifyPart + (orcpt === undefined ? "" : orcptPart(orcpt));
}

/**
 * The type stays as it is; the address is encoded. What has no fit type is left out: types were checked when the mail came
 * in, and this is the last fence before a line break in one becomes a command (security.md 3).
 *
 * Source: RFC 3461 §4.2.
 */
function orcptPart(orcpt: string): string {
  const end = orcpt.indexOf(";");
  const type = end < 0 ? "rfc822" : orcpt.slice(0, end);
  if (!/^[A-Za-z0-9-]+$/.test(type)) return "";
  return ` ORCPT=${type};${encodeXtext(orcpt.slice(end + 1))}`;
}

/**
 * Whether an address may be put into a command as it is.
 *
 * Addresses were checked when the mail came in; this is the last fence before a line break in one becomes a command
 * (security.md 3).
 */
export function isFitForCommand(address: string): boolean {
  if (plainAddress.test(address)) return true;
  return (
    !/[\p{Cc}\u2028\u2029]/u.test(address) &&
    !/[<>\s]/.test(address.replaceAll(/"(?:[^"\\]|\\.)*"/g, ""))
  );
}

/** Nearly all addresses: nothing in them is of meaning in a command. */
const plainAddress = /^[\w.+=@-]*$/;

/** Whether SMTPUTF8 is needed for a text. */
export function hasUtf8(text: string): boolean {
  return /[^\u0000-\u007F]/.test(text);
}
