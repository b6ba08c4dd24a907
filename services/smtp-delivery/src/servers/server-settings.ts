/** The parameters of finding servers, as its parts want them. Source: spec D1 to D5; postconf(5). */
import type { Parameters } from "@postmq/config";
import { usesDns } from "@postmq/dns";
import type { MailResolver } from "@postmq/dns";
import { PostmqError } from "@postmq/vocabulary";

import { parseNexthopList } from "./nexthop.ts";
import { findOwnAddresses } from "./own-addresses.ts";
import type { PlanSettings } from "./server-plan.ts";

/** @throws PMQ_CONFIG_INVALID for an own host that is not found, or a fallback relay that is none */
export async function openPlanSettings(
  parameters: Parameters,
  resolver: MailResolver,
): Promise<PlanSettings> {
  const fallbackRelay = parameters.smtp_fallback_relay;
  if (fallbackRelay !== "" && parseNexthopList(fallbackRelay) === undefined) {
    const facts = { parameter: "smtp_fallback_relay", value: fallbackRelay };
    throw new PostmqError("PMQ_CONFIG_INVALID", "smtp_fallback_relay is no list of next hops", {
      facts,
    });
  }
  return {
    fallbackRelay,
    find: {
      resolver,
      myhostname: parameters.myhostname,
      allowsPrivate: parameters.smtp_allow_private_addresses,
      families: families(parameters.inet_protocols),
      looksUpMx: usesDns(parameters),
      defersWithoutAddress: parameters.smtp_defer_if_no_mx_address_found,
      ignoresMxErrors: parameters.smtp_ignore_mx_lookup_error,
      isOwn: await findOwnAddresses(parameters),
      randomizes: parameters.smtp_randomize_addresses,
      prefers: parameters.smtp_address_preference,
      addressLimit: parameters.smtp_mx_address_limit,
      balances: parameters.smtp_balance_inet_protocols,
      random: Math.random,
    },
  };
}

function families(words: readonly string[]): readonly (4 | 6)[] {
  const has = (word: string) => words.some((item) => item.toLowerCase() === word);
  return ([4, 6] as const).filter((family) => has("all") || has(`ipv${family}`));
}
