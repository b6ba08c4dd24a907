export { inNetworks, parseNetworks } from "./networks.ts";
export type { NetworkList } from "./networks.ts";
export { openTables } from "./tables.ts";
export type { Tables } from "./tables.ts";
