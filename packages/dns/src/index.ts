export { isHostName } from "./host-name.ts";
export { mailResolver } from "./mail-resolver.ts";
export type { ResolverSettings } from "./mail-resolver.ts";
export { nativeAddresses } from "./native-lookup.ts";
export { openResolver, usesDns } from "./open-resolver.ts";
export type { DnsAnswer, MailResolver, MxRecord, NoAnswerKind } from "./resolver.ts";
