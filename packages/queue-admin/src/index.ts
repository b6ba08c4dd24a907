export { explain } from "./explain.ts";
export type { Explanation } from "./explain.ts";
export { explainCauses } from "./explain-destination.ts";
export type { DestinationReason, MessageDestination } from "./explain-destination.ts";
export { listMessages } from "./listing.ts";
export { mailqText } from "./mailq-text.ts";
export { postqueueJsonLine } from "./postqueue-json.ts";
export {
  defaultQshapeLayout,
  qshapeAgeLimits,
  qshapeParents,
  qshapeTable,
} from "./qshape-table.ts";
export type { QshapeLayout } from "./qshape-table.ts";
export { shownAddress, shownRecipients } from "./shown-recipients.ts";
export type { ShownRecipient } from "./shown-recipients.ts";
export { whileReachable } from "./while-reachable.ts";
