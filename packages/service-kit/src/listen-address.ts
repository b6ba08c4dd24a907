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

/** The system's error, its code included, with the parameter's name before its text. */
export function listenError({ parameter, value }: ListenSetting, error: unknown): unknown {
  if (error instanceof Error) error.message = `${parameter} = ${value}: ${error.message}`;
  return error;
}

/** What could not be listened on, and the parameter that says so. */
export type ListenSetting = { readonly parameter: string; readonly value: string };

/**
 * Listens there. @returns the address with the true port.
 * @throws what the system says, e.g. EADDRINUSE, with the parameter's name before it.
 */
export async function listenOn(server: Server, setting: ListenSetting): Promise<string> {
  const text = setting.value;
  const { host, port } = parseListenAddress(text);
  try {
    server.listen({ host, port });
    await once(server, "listening");
  } catch (error) {
    throw listenError(setting, error);
  }
  const bound = server.address();
  return bound === null || typeof bound === "string"
    ? text
    : formatAddress(bound.address, bound.port);
}
