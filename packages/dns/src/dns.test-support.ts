/** What tests of the resolver stand on: the real one, asking a name server of the test's own, with a clock to move. */
import { FakeDnsServer } from "@postmq/testing";
import type { DecideDns, DnsZone } from "@postmq/testing";

import { mailResolver } from "./mail-resolver.ts";
import type { ResolverSettings } from "./mail-resolver.ts";
import type { MailResolver } from "./resolver.ts";

export type TestDns = AsyncDisposable & {
  readonly server: FakeDnsServer;
  readonly resolver: MailResolver;
  /** Moves the resolver's clock. */
  passMs(ms: number): void;
};

/** @param options before: servers that are asked first */
export async function startDns(
  zone: DnsZone,
  options: {
    readonly decide?: DecideDns;
    readonly settings?: Partial<ResolverSettings>;
    readonly before?: readonly FakeDnsServer[];
  } = {},
): Promise<TestDns> {
  const { before = [], decide, settings } = options;
  const server = await FakeDnsServer.start({ zone, ...(decide === undefined ? {} : { decide }) });
  let nowMs = 1_000;
  const resolver = mailResolver({
    servers: [...before, server].map(({ port }) => ({ address: "127.0.0.1", port })),
    timeoutMs: 200,
    hostLookup: ["dns"],
    nowMs: () => nowMs,
    ...settings,
  });
  return {
    server,
    resolver,
    passMs: (ms) => {
      nowMs += ms;
    },
    [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
  };
}
