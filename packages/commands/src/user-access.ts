/**
 * Who may use a command: the lists authorized_submit_users and authorized_mailq_users.
 *
 * Source: postconf(5) authorized_submit_users; Postfix src/global/user_acl.c (root may always).
 */
import { exitCodes, PostmqError } from "@postmq/vocabulary";

import { CommandFailure } from "./command.ts";
import type { User } from "./command.ts";

/**
 * @param what what is not allowed, for the message
 * @throws CommandFailure, exit 77
 */
export function assertAllowed(
  user: User,
  list: { readonly parameter: string; readonly items: readonly string[] },
  what: string,
): void {
  if (user.uid === 0 || isListed(user.name, list)) return;
  throw new CommandFailure(
    exitCodes.noPermission,
    `User ${user.name}(${user.uid}) is not allowed to ${what}`,
  );
}

function isListed(
  name: string,
  { parameter, items }: { readonly parameter: string; readonly items: readonly string[] },
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
    if (pattern.startsWith("static:") || pattern === name) return !isExclusion;
  }
  return false;
}
