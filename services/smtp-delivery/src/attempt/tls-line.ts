/**
 * `Verified TLS connection established to HOST[IP]:PORT: TLSv1.3 with cipher C (256/256 bits)`.
 *
 * Source: spec D24; Postfix src/tls/tls_misc.c tls_log_summary.
 */
import { shownHost } from "../session/smtp-session.ts";
import type { ServerName } from "../session/smtp-session.ts";
import type { TlsFacts } from "../session/tls-facts.ts";

export function tlsLine(server: ServerName, { trust, protocol, cipher, bits }: TlsFacts): string {
  return (
    `${trust} TLS connection established to ${shownHost(server)}:${server.port}: ` +
    `${protocol} with cipher ${cipher} (${bits}/${bits} bits)`
  );
}
