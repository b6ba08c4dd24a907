export { listDropped, purgeStaleTemporaries, removeDropped, setAside } from "./directory.ts";
export { DroppedFile, openDropped } from "./dropped-file.ts";
export type { DroppedMessage } from "./drop-header.ts";
export { dropMessage, makeDropDirectory } from "./drop-message.ts";
