/**
 * What a server says of itself in its EHLO reply, less what we were told not to believe.
 *
 * Source: spec D3, D20; RFC 5321 §4.1.1.1; postconf(5) smtp_discard_ehlo_keywords; Postfix src/smtp/smtp_proto.c.
 */
import { parseOffers } from "./mail-commands.ts";
import type { Offers } from "./mail-commands.ts";

export type EhloReply = {
  /** The name that the server gives itself, or empty. */
  readonly name: string;
  readonly offers: Offers;
  /** What an operator may want to read about it. */
  readonly notices: readonly string[];
};

/** Keywords that are not to be used, in lower case; `silent-discard` among them: nothing is said of it. */
export type Discards = readonly string[];

/**
 * @param raw the whole reply, codes included
 * @param host name[address] of the server
 */
export function readEhloReply(raw: string, discards: Discards, host: string): EhloReply {
  const lines = raw.split(/\r?\n/).map((line) => line.replace(/^\d{3}[ -]?/, "").trim());
  const [name = ""] = (lines[0] ?? "").split(/\s/);
  const offers = new Map(parseOffers(lines.slice(1).filter((line) => line !== "")));
  const notices: string[] = [];
  const discarded = discards.filter((keyword) => offers.delete(keyword.toUpperCase()));
  if (discarded.length > 0 && !discards.includes("silent-discard")) {
    notices.push(`discarding EHLO keywords: ${discarded.join(" ").toUpperCase()}`);
  }
  if (offers.has("SMTPUTF8") && !offers.has("8BITMIME")) {
    // RFC 6531 §3.1 item 6 wants both. Our mission is to deliver mail, not to educate.
    notices.push(`host ${host} offers SMTPUTF8 support, but not 8BITMIME`);
    offers.set("8BITMIME", "");
  }
  return { name, offers, notices };
}
