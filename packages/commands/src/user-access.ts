/**
 * Who may use a command: the lists authorized_submit_users, authorized_mailq_users and authorized_flush_users.
 *
 * Source: postconf(5) authorized_submit_users; Postfix src/global/user_acl.c (root may always).
 */
import { exitCodes } from "@postmq/vocabulary";

import { CommandFailure } from "./command.ts";
import type { User } from "./command.ts";
import { isInList } from "./match-list.ts";
import type { NamedList } from "./match-list.ts";

/**
 * @param what what is not allowed, for the message
 * @throws CommandFailure, exit 77
 */
export function assertAllowed(user: User, list: NamedList, what: string): void {
  if (user.uid === 0 || isInList(list, (pattern) => pattern === user.name)) return;
  throw new CommandFailure(
    exitCodes.noPermission,
    `User ${user.name}(${user.uid}) is not allowed to ${what}`,
  );
}
