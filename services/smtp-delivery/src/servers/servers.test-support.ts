/** What tests of finding servers stand on: the real resolver, asking a name server of the test's own. */
import { loadParameters } from "@postmq/config";
import { openResolver } from "@postmq/dns";
import { FakeDnsServer } from "@postmq/testing";
import type { DnsZone } from "@postmq/testing";

import type { FindOptions } from "./find-servers.ts";
import { openPlanSettings } from "./server-settings.ts";

export type TestZone = AsyncDisposable & {
  readonly dns: FakeDnsServer;
  readonly options: FindOptions;
};

/**
 * Settings as the parameters give them, but no address is our own, and nothing is shuffled.
 *
 * @param env parameters that differ, by environment name
 */
export async function startZone(
  zone: DnsZone,
  env: Readonly<Record<string, string>> = {},
): Promise<TestZone> {
  const dns = await FakeDnsServer.start({ zone });
  const parameters = loadParameters({
    env: {
      POSTMQ_DNS_SERVERS: dns.address,
      POSTMQ_INET_INTERFACES: "",
      POSTMQ_SMTP_RANDOMIZE_ADDRESSES: "no",
      ...env,
    },
    service: "smtp-delivery",
  });
  const { find } = await openPlanSettings(parameters, openResolver(parameters));
  return { dns, options: find, [Symbol.asyncDispose]: () => dns[Symbol.asyncDispose]() };
}
