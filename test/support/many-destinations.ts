/** Destinations of a test, each with a server of its own, and the transport_maps that leads to them. */
import { FakeSmtpServer } from "@postmq/testing";

/** @param sinks domain to the port of its server on 127.0.0.1 */
export function transportMaps(sinks: ReadonlyMap<string, number>): string {
  const entries = [...sinks].map(([domain, port]) => `{${domain} = smtp:[127.0.0.1]:${port}}`);
  return `inline:{${entries.join(", ")}}`;
}

/** The port of each. */
export function portsOf(sinks: ReadonlyMap<string, FakeSmtpServer>): ReadonlyMap<string, number> {
  return new Map([...sinks].map(([domain, sink]) => [domain, sink.port]));
}

/** Servers for d0.example.com, d1.example.com, …; contents are not kept. The stack ends them. */
export async function startSinks(
  stack: AsyncDisposableStack,
  count: number,
): Promise<ReadonlyMap<string, FakeSmtpServer>> {
  const start = async (index: number): Promise<[string, FakeSmtpServer]> => [
    `d${index}.example.com`,
    stack.use(await FakeSmtpServer.start({ keepsContent: false })),
  ];
  return new Map(await Promise.all(Array.from({ length: count }, (_, index) => start(index))));
}
