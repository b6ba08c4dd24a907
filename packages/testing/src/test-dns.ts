/** The real resolver, asking a name server of the test's own. */
import { mailResolver } from "@postmq/dns";
import type { MailResolver, ResolverSettings } from "@postmq/dns";

import type { DnsZone } from "./dns-zone.ts";
import { FakeDnsServer } from "./fake-dns-server.ts";
import type { DecideDns } from "./fake-dns-server.ts";

export type TestDns = AsyncDisposable & {
  readonly server: FakeDnsServer;
  readonly resolver: MailResolver;
  /** Moves the resolver's clock. */
  passMs(ms: number): void;
};

/** @param servers asked before the fake one */
export async function startDns(
  zone: DnsZone,
  options: {
    readonly decide?: DecideDns;
    readonly settings?: Partial<ResolverSettings>;
    readonly before?: readonly FakeDnsServer[];
    readonly after?: readonly FakeDnsServer[];
  } = {},
): Promise<TestDns> {
  const { before = [], after = [], decide, settings } = options;
  const server = await FakeDnsServer.start({ zone, ...(decide === undefined ? {} : { decide }) });
  let nowMs = 1_000;
  const resolver = mailResolver({
    servers: [...before, server, ...after].map(({ port }) => ({ address: "127.0.0.1", port })),
    timeoutMs: 5_000,
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
