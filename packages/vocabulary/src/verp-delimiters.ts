/**
 * The delimiters of VERP: what they can be, and when they count.
 *
 * Source: verp_sender(3); postconf(5) default_verp_delimiters, verp_delimiter_filter.
 */
import type { Envelope } from "./message.ts";

/** How VERP may be asked for. */
export type VerpRules = {
  /** default_verp_delimiters. */
  readonly delimiters: string;
  /** verp_delimiter_filter. */
  readonly allowed: string;
};

/** Whether the text can be VERP delimiters: two of the characters that verp_delimiter_filter allows. */
export function areVerpDelimiters(text: string, allowed: string): boolean {
  return text.length === 2 && [...text].every((character) => allowed.includes(character));
}

/** The delimiters by which senders are to name their recipients, if they are: the null sender never does. */
export function verpDelimitersOf(
  envelope: Pick<Envelope, "sender" | "verpDelimiters">,
): string | undefined {
  return envelope.sender === "" ? undefined : envelope.verpDelimiters;
}
