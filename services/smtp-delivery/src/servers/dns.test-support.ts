/** What tests of finding servers stand on, beside `startDns` of the testing package. */
import type { MailResolver } from "@postmq/dns";

import type { FindOptions } from "./find-servers.ts";

/** Postfix's defaults, but no shuffling, and no address is our own. */
export function findOptions(
  resolver: MailResolver,
  changes: Partial<FindOptions> = {},
): FindOptions {
  return {
    resolver,
    allowsPrivate: false,
    families: [4, 6],
    looksUpMx: true,
    defersWithoutAddress: false,
    ignoresMxErrors: false,
    isOwn: () => false,
    randomizes: false,
    prefers: "any",
    addressLimit: 5,
    balances: true,
    random: () => 0,
    ...changes,
  };
}
