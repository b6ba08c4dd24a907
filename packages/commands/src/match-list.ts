/**
 * Lists of names in parameters: the first item that matches decides, and `!` before it means no.
 *
 * `static:` matches everything. Files and other tables are refused, not misread.
 *
 * Source: postconf(5) authorized_flush_users, fast_flush_domains; Postfix src/util/match_list.c.
 */
import { PostmqError } from "@postmq/vocabulary";

export type NamedList = { readonly parameter: string; readonly items: readonly string[] };

/** @throws PMQ_CONFIG_INVALID when an item is a file or a table */
export function isInList(
  { parameter, items }: NamedList,
  matches: (pattern: string) => boolean,
): boolean {
  for (const item of items) {
    const isExclusion = item.startsWith("!");
    const pattern = isExclusion ? item.slice(1) : item;
    if (pattern.startsWith("/") || /^(?!static:)\w+:/.test(pattern)) {
      throw new PostmqError(
        "PMQ_CONFIG_INVALID",
        `parameter ${parameter}: ${item} is not supported`,
      );
    }
    if (pattern.startsWith("static:") || matches(pattern)) return !isExclusion;
  }
  return false;
}
