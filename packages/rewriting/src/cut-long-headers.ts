/**
 * Cuts each header at `header_size_limit` bytes; what is beyond is dropped without a word, as in Postfix.
 *
 * Source: rewriting-and-checks.md §3; postconf(5) header_size_limit.
 */
import type { RawHeader } from "@postmq/mail-format";
import type { Draft } from "./cleaning.ts";

const lineEnd = Buffer.from("\r\n");

export function cutLongHeaders(draft: Draft): Draft {
  const limit = draft.input.parameters.header_size_limit;
  if (!draft.kept.some((header) => header.raw.length > limit)) return draft;
  return { ...draft, kept: draft.kept.map((header) => cut(header, limit)) };
}

function cut(header: RawHeader, limit: number): RawHeader {
  if (header.raw.length <= limit) return header;
  // Never into the name: without its colon it would not be a header.
  let end = Math.max(limit, header.raw.indexOf(":") + 1);
  while (isLineEndByte(header.raw[end - 1])) end--;
  return {
    name: header.name,
    raw: Buffer.concat([header.raw.subarray(0, end), lineEnd]),
    value: () => header.value(),
  };
}

function isLineEndByte(byte: number | undefined): boolean {
  return byte === 0x0d || byte === 0x0a;
}
