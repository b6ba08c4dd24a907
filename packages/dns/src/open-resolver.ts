/** The resolver that the parameters describe. Source: postconf(5) smtp_dns_support_level, smtp_host_lookup. */
import type { Parameters } from "@postmq/config";

import { dnsServers } from "./dns-servers.ts";
import { hostLookups, mailResolver } from "./mail-resolver.ts";
import type { HostLookup } from "./mail-resolver.ts";
import type { MailResolver } from "./resolver.ts";

/** Source: resolv.conf(5) timeout. */
const queryTimeoutMs = 5_000;

/** DNS as the parameters say, or as this machine is set up for it. */
export function openResolver(parameters: Parameters): MailResolver {
  return mailResolver({
    servers: dnsServers(parameters.dns_servers),
    timeoutMs: queryTimeoutMs,
    hostLookup: usesDns(parameters) ? hostLookup(parameters.smtp_host_lookup) : ["native"],
    nowMs: () => performance.now(),
  });
}

/** Whether MX hosts are looked for at all. */
export function usesDns(parameters: Pick<Parameters, "smtp_dns_support_level">): boolean {
  return parameters.smtp_dns_support_level.toLowerCase() !== "disabled";
}

/** dns comes first, however it is written. Source: Postfix src/smtp/smtp_addr.c. */
function hostLookup(words: readonly string[]): readonly HostLookup[] {
  return hostLookups.filter((way) => words.some((word) => word.toLowerCase() === way));
}
