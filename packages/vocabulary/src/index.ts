export { systemClock } from "./clock.ts";
export type { Clock } from "./clock.ts";
export { outcomeKinds, requestEnds } from "./delivery-outcome.ts";
export type {
  OutcomeKind,
  RecipientOutcome,
  RequestEnd,
  SiteFeedback,
} from "./delivery-outcome.ts";
export { destinationKey, requestStates } from "./delivery-request.ts";
export type { Destination, RequestName, RequestState } from "./delivery-request.ts";
export { parseDurationMs } from "./duration.ts";
export type { DurationUnit } from "./duration.ts";
export { enhancedStatus, parseEnhancedStatus } from "./enhanced-status.ts";
export type { EnhancedStatus } from "./enhanced-status.ts";
export { errorCodes, exitCodes, isPostmqError, PostmqError } from "./errors.ts";
export type { ErrorCode } from "./errors.ts";
export { countedDomain, senderKey } from "./mail-domain.ts";
export { messageOrigins, notifyConditions, successActions } from "./message.ts";
export type {
  ClientAttributes,
  Envelope,
  MessageOrigin,
  NotifyCondition,
  Recipient,
  RecipientState,
  RemoteReply,
  StoredRecipient,
  SuccessAction,
} from "./message.ts";
export { panic, PanicError } from "./panic.ts";
export { makeQueueId, parseQueueId, queueIdTimeUs } from "./queue-id.ts";
export type { QueueId } from "./queue-id.ts";
export {
  bellQueues,
  isMessageQueue,
  listedQueues,
  messageQueues,
  queueMoves,
} from "./queue-name.ts";
export type { BellQueue, MessageQueue, QueueMove } from "./queue-name.ts";
export { serviceNames } from "./service-name.ts";
export type { ServiceName } from "./service-name.ts";
export { areVerpDelimiters, verpDelimitersOf } from "./verp-delimiters.ts";
export type { VerpRules } from "./verp-delimiters.ts";
