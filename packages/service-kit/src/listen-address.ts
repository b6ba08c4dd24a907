/**
 * Addresses that listeners are given: host:port, with an IPv6 host in brackets.
 *
 * Source: DESIGN §7; the parameter kind `listen` has checked the form.
 */
import { once } from "node:events";
import { BlockList, isIP } from "node:net";
import type { Server } from "node:net";

export type ListenAddress = { readonly host: string; readonly port: number };

/** @throws RangeError when the text is not host:port. */
export function parseListenAddress(text: string): ListenAddress {
  const match = /^(?:\[([^\]]+)\]|([^:]+)):(\d{1,5})$/.exec(text);
  const host = match?.[1] ?? match?.[2];
  if (host === undefined) throw new RangeError(`not host:port: ${text}`);
  return { host, port: Number(match?.[3]) };
}

export function formatAddress(host: string, port: number): string {
  return host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`;
}

/** Whether only this machine can reach the host: localhost, 127.0.0.0/8, ::1. */
export function isLoopback(host: string): boolean {
  const name = host.toLowerCase();
  const family = isIP(name);
  if (family === 0) return name === "localhost";
  const loopback = new BlockList();
  loopback.addSubnet("127.0.0.0", 8, "ipv4");
  loopback.addAddress("::1", "ipv6");
  return loopback.check(name, family === 6 ? "ipv6" : "ipv4");
}

/**
 * Listens there. @returns the address with the true port.
 * @throws what the system says, e.g. EADDRINUSE.
 */
export async function listenOn(server: Server, text: string): Promise<string> {
  const { host, port } = parseListenAddress(text);
  server.listen({ host, port });
  await once(server, "listening");
  const bound = server.address();
  return bound === null || typeof bound === "string"
    ? text
    : formatAddress(bound.address, bound.port);
}
