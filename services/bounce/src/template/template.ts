/**
 * The words of a report that a site can choose: a template, for each kind of report.
 *
 * Text is kept as the bytes of its charset, one character for each byte (latin1), so that a template in any charset
 * goes out as it was written.
 *
 * Source: bounce(5); spec delivery.md §9 "Format".
 */
import type { ReportKind } from "@postmq/queue-store";

export const templateNames = ["failure", "delay", "success"] as const;
export type TemplateName = (typeof templateNames)[number];

/** What the built-in words depend on; a site's own do not. */
export type WordsOccasion = {
  /** It failed for having become too old. */
  readonly isExpired: boolean;
  readonly returned: "whole" | "headers" | "unavailable";
};

export type Template = {
  readonly charset: string;
  /** Value of From; addresses in it may lack a domain. */
  readonly from: string;
  readonly subject: string;
  /** Subject of copies to the postmaster; a success has none. */
  readonly postmasterSubject?: string;
  readonly words: (occasion: WordsOccasion) => readonly string[];
};

export type Templates = Readonly<Record<TemplateName, Template>>;

export function templateName(kind: ReportKind): TemplateName {
  return kind === "expired" ? "failure" : kind;
}
