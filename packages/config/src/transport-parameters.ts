/**
 * Parameters that can be set for one transport: `slow_destination_rate_delay` before `default_destination_rate_delay`.
 *
 * Source: postconf(5), its "transport_" entries; spec parameters.md.
 */
import type { ParameterName, ParameterValues } from "./parameters.ts";

/** What follows `<transport>_` in a name, and the parameter that holds where no transport sets it. */
export const transportParameterNames = {
  recipient_limit: "default_recipient_limit",
  extra_recipient_limit: "default_extra_recipient_limit",
  recipient_refill_limit: "default_recipient_refill_limit",
  recipient_refill_delay: "default_recipient_refill_delay",
  initial_destination_concurrency: "initial_destination_concurrency",
  destination_concurrency_limit: "default_destination_concurrency_limit",
  destination_concurrency_positive_feedback: "default_destination_concurrency_positive_feedback",
  destination_concurrency_negative_feedback: "default_destination_concurrency_negative_feedback",
  destination_concurrency_failed_cohort_limit:
    "default_destination_concurrency_failed_cohort_limit",
  destination_rate_delay: "default_destination_rate_delay",
  destination_recipient_limit: "default_destination_recipient_limit",
  transport_rate_delay: "default_transport_rate_delay",
  delivery_slot_cost: "default_delivery_slot_cost",
  delivery_slot_loan: "default_delivery_slot_loan",
  delivery_slot_discount: "default_delivery_slot_discount",
  minimum_delivery_slots: "default_minimum_delivery_slots",
  bind_address: "smtp_bind_address",
  bind_address6: "smtp_bind_address6",
  bind_address_enforce: "smtp_bind_address_enforce",
} as const satisfies Readonly<Record<string, ParameterName>>;

export type TransportSuffix = keyof typeof transportParameterNames;

/** What `transportParameter` gives for a suffix. */
export type TransportValue<Suffix extends TransportSuffix> =
  ParameterValues[(typeof transportParameterNames)[Suffix]];

/** The per-transport settings, by suffix and then by transport. */
export type TransportOverrides = {
  readonly [Suffix in TransportSuffix]?: ReadonlyMap<string, TransportValue<Suffix>>;
};

/** The two parts of a per-transport name, for a transport of the list. */
export function splitTransportName(
  name: string,
  transports: readonly string[],
): { readonly transport: string; readonly suffix: TransportSuffix } | undefined {
  for (const transport of transports) {
    if (!name.startsWith(`${transport}_`)) continue;
    const suffix = name.slice(transport.length + 1);
    if (isTransportSuffix(suffix)) return { transport, suffix };
  }
  return undefined;
}

function isTransportSuffix(text: string): text is TransportSuffix {
  return Object.hasOwn(transportParameterNames, text);
}
