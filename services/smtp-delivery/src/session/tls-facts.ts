/**
 * What a TLS session agreed on, as the log tells it (D24).
 *
 * Source: spec D24; Postfix src/tls/tls_misc.c (tls_log_summary).
 */
import type { TLSSocket } from "node:tls";

import type { TlsLevel, TlsTrust } from "../tls/tls-policy.ts";

export type TlsFacts = {
  readonly level: TlsLevel;
  readonly trust: TlsTrust;
  /** Such as TLSv1.3. */
  readonly protocol: string;
  readonly cipher: string;
  /** Of the cipher's key; 0: unknown. */
  readonly bits: number;
};

export function tlsFacts(socket: TLSSocket, level: TlsLevel, trust: TlsTrust): TlsFacts {
  const { name } = socket.getCipher();
  return {
    level,
    trust,
    protocol: socket.getProtocol() ?? "unknown",
    cipher: name,
    bits: cipherBits(name),
  };
}

/** Node doesn't tell; the cipher's name does. */
export function cipherBits(cipher: string): number {
  if (/CHACHA20/.test(cipher)) return 256;
  if (/3DES|DES-CBC3/.test(cipher)) return 168;
  const bits = /(?:AES|ARIA|CAMELLIA)[_-]?(128|192|256)/.exec(cipher)?.[1];
  return bits === undefined ? 0 : Number(bits);
}
