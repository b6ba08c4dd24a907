/**
 * Addresses in header fields such as To.
 *
 * Source: RFC 5322 §3.4 (over nodemailer's addressparser: groups, comments, quoted local parts, linear time).
 */
import addressparser from "nodemailer/lib/addressparser";
import { parseAddress } from "./smtp-path.ts";

/**
 * The addresses of a header's value, in order, groups opened, display names and comments left out.
 *
 * A well-formed one comes in the form we keep (see smtp-path.ts); a malformed one comes as it was written, so that
 * the caller can say which address is wrong instead of losing it.
 */
export function parseAddressHeader(value: string): string[] {
  return addressparser(value, { flatten: true })
    .map((entry) => (entry.address === "" ? entry.name : entry.address).trim())
    .filter((text) => text !== "")
    .map((text) => parseAddress(text) ?? text);
}
