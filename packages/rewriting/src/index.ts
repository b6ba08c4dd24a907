export { cleanUp } from "./clean-up.ts";
export type {
  CleanedMessage,
  CleanedRecipient,
  CleaningInput,
  Refusal,
  RefusedMessage,
  RewritingParameters,
} from "./cleaning.ts";
export { HeadCollector } from "./head-collector.ts";
