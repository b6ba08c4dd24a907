export { mapAddress } from "./address-map.ts";
export type { AddressMapSettings } from "./address-map.ts";
export { cleanUp } from "./clean-up.ts";
export type {
  CleanedMessage,
  CleanedRecipient,
  CleaningInput,
  Refusal,
  RefusedMessage,
  RewritingParameters,
} from "./cleaning.ts";
export { applyCheck } from "./content-check.ts";
export type { CheckNotice, LineKind } from "./content-check.ts";
export { addressHeaders, rewriteHeaderAddresses } from "./header-addresses.ts";
export { HeadCollector } from "./head-collector.ts";
