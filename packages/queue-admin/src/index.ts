export { listMessages } from "./listing.ts";
export { mailqText } from "./mailq-text.ts";
export { postqueueJsonLine } from "./postqueue-json.ts";
export { printable } from "./printable.ts";
export { defaultQshapeLayout, qshapeAgeLimits, qshapeTable } from "./qshape-table.ts";
export type { QshapeLayout } from "./qshape-table.ts";
