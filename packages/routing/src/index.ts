export { openRouting } from "./open-routing.ts";
export { queueName } from "./queue-name.ts";
export type { NamingRules } from "./queue-name.ts";
export type { Resolver } from "./resolve.ts";
