export { Child, run } from "./child-process.ts";
export type { ChildExit, ChildOptions, Finished } from "./child-process.ts";
export { freePort } from "./free-port.ts";
export { RedisServer, startRedis } from "./redis-server.ts";
export type { RedisOptions } from "./redis-server.ts";
export { seededRandom } from "./seeded-random.ts";
export type { SeededRandom } from "./seeded-random.ts";
export { waitFor } from "./wait-for.ts";
export type { WaitOptions } from "./wait-for.ts";
