/**
 * Removes the headers that `message_drop_headers` names: Bcc, which would tell who else got the mail, and those that
 * only a mail store may set.
 *
 * Source: spec R4; postconf(5) message_drop_headers.
 */
import type { Draft } from "./cleaning.ts";

export function dropHeaders(draft: Draft): Draft {
  const names = draft.input.parameters.message_drop_headers.map((name) => name.toLowerCase());
  if (!draft.kept.some((header) => names.includes(header.name))) return draft;
  return { ...draft, kept: draft.kept.filter((header) => !names.includes(header.name)) };
}
