export { connectStore } from "./connect-store.ts";
export { formatAddress, isLoopback, listenOn, parseListenAddress } from "./listen-address.ts";
export type { ListenAddress } from "./listen-address.ts";
export { runService } from "./run-service.ts";
export { serviceNames } from "./service.ts";
export type { Service, ServiceContext, ServiceListener, ServiceName } from "./service.ts";
