export { movedQueues, moveMessages } from "./aside-messages.ts";
export type { MoveCounts, MovingSide } from "./aside-messages.ts";
export { checkQueues } from "./check-queues.ts";
export type { CheckOptions, CheckResult } from "./check-queues.ts";
export { ExportFile } from "./export-file.ts";
export type { ExportOutput } from "./export-file.ts";
export { endLine, headerLine } from "./export-format.ts";
export type { ExportCounts, ExportHeader } from "./export-format.ts";
export { exportAndDelete, exportMessages } from "./export-messages.ts";
export { abandonedAfterMs, fileMove, finishMoves } from "./finish-moves.ts";
export type { FinishedMoves, UnfinishedGroup } from "./finish-moves.ts";
export { parseHeader } from "./import-entry.ts";
export { importMessages } from "./import-messages.ts";
export type { ImportCounts, ImportOptions } from "./import-messages.ts";
export { explain } from "./explain.ts";
export type { Explanation } from "./explain.ts";
export type { DestinationReason, MessageDestination } from "./explain-destination.ts";
export { formatSelection, isEmptySelection } from "./format-selection.ts";
export { listMessages, withAllRecipients } from "./listing.ts";
export { mailqText } from "./mailq-text.ts";
export { postfixPath } from "./postcat-path.ts";
export { postcatText } from "./postcat-text.ts";
export type { PostcatOptions } from "./postcat-text.ts";
export { mostSamples } from "./operation.ts";
export type { OperationProgress, OperationTask } from "./operation.ts";
export { parseSelection } from "./parse-selection.ts";
export type { ParseOptions } from "./parse-selection.ts";
export { postqueueJsonLine } from "./postqueue-json.ts";
export { printable } from "./printable.ts";
export { qfHeaderBytes, qfView } from "./qf-view.ts";
export {
  defaultQshapeLayout,
  qshapeAgeLimits,
  qshapeParents,
  qshapeTable,
} from "./qshape-table.ts";
export type { QshapeLayout } from "./qshape-table.ts";
export { assertSensible, queuesFor, runOperation } from "./run-operation.ts";
export type { OperationFaces } from "./run-operation.ts";
export { queuesToRead, selectMessages, Selector } from "./select-messages.ts";
export type { SelectedPage } from "./select-messages.ts";
export { selectionNames } from "./selection-names.ts";
export type { SelectionName, SelectionPair } from "./selection-names.ts";
export type { Contains, Range, Selection } from "./selection.ts";
export { shownAddress, shownRecipients } from "./shown-recipients.ts";
export type { ShownRecipient } from "./shown-recipients.ts";
export { queueFile } from "./queue-file.ts";
export { terminalSafe } from "./terminal-safe.ts";
export { timelineJsonLine, timelineLine } from "./timeline-text.ts";
export { whileReachable } from "./while-reachable.ts";
