export { destinationOf } from "./destination-of.ts";
export type { RoutingRules } from "./destination-of.ts";
export { openRouting } from "./open-routing.ts";
export { queueName } from "./queue-name.ts";
export type { NamingRules } from "./queue-name.ts";
export type { Resolver } from "./resolve.ts";
export { siteName } from "./site-name.ts";
export { Sites } from "./sites.ts";
export type { MxAnswer } from "./sites.ts";
