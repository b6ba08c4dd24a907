export { formatDelay, formatDelays } from "./delays.ts";
export type { DeliveryDelaysMs } from "./delays.ts";
export {
  logClient,
  logConnect,
  logDelivery,
  logDisconnect,
  logExpired,
  logLostConnection,
  logMessageId,
  logNotification,
  logPickup,
  logQueueActive,
  logReject,
  logRemoved,
} from "./events.ts";
export type { LoggedClient, LoggedDelivery, LoggedStatus } from "./events.ts";
export { logFormats, openLog, printable, redact } from "./log.ts";
export type { Log, LogEvent, LogFormat, LogOptions } from "./log.ts";
export { createMetrics } from "./metrics.ts";
export type { CounterMetric, GaugeMetric, HistogramMetric, Labels, Metrics } from "./metrics.ts";
export { qshapeAgeLimitsMs } from "./qshape-ages.ts";
