/**
 * Which names Postfix knows, so that a Postfix main.cf is taken with warnings and a typing error is refused.
 *
 * The list is a data file made from `postconf -d`; per-transport forms (slow_destination_rate_delay) are known by
 * their endings, for transports that exist.
 *
 * Source: postconf(5), also its "transport_" entries; spec parameters.md.
 */
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

const transportSuffixes: readonly string[] = [
  "recipient_limit",
  "extra_recipient_limit",
  "recipient_refill_limit",
  "recipient_refill_delay",
  "destination_concurrency_limit",
  "destination_concurrency_positive_feedback",
  "destination_concurrency_negative_feedback",
  "destination_concurrency_failed_cohort_limit",
  "destination_rate_delay",
  "destination_recipient_limit",
  "delivery_slot_cost",
  "delivery_slot_loan",
  "delivery_slot_discount",
  "minimum_delivery_slots",
  "initial_destination_concurrency",
  "transport_rate_delay",
];

/** All names in the data file. Read anew at each call; ask once. */
export function readPostfixNames(): ReadonlySet<string> {
  const file = fileURLToPath(new URL("postfix-parameter-names.txt", import.meta.url));
  const lines = readFileSync(file, "utf8").split("\n");
  return new Set(lines.filter((line) => line !== "" && !line.startsWith("#")));
}

/** The two parts of a per-transport name, for a transport of the list. */
export function splitTransportName(
  name: string,
  transports: readonly string[],
): { readonly transport: string; readonly suffix: string } | undefined {
  for (const transport of transports) {
    const suffix = name.slice(transport.length + 1);
    if (name.startsWith(`${transport}_`) && transportSuffixes.includes(suffix)) {
      return { transport, suffix };
    }
  }
  return undefined;
}
