/** The server's side of a TLS handshake on a connection that is already open. */
import type { Duplex } from "node:stream";
import { createServer } from "node:tls";
import type { TLSSocket, TlsOptions } from "node:tls";

import { ConnectionEnded } from "./byte-reader.ts";

/** What a TLS session agreed on, as the server sees it. */
export type TlsFacts = {
  /** Such as TLSv1.3. */
  readonly protocol: string;
  readonly cipher: string;
  /** The name that the client asked for (SNI); undefined when it asked for none. */
  readonly servername: string | undefined;
  /** The common name in the client's certificate; undefined when it showed none (see `requestCert`). */
  readonly clientName: string | undefined;
};

/**
 * @param socket paused; what it has read already is part of the handshake
 * @throws ConnectionEnded when the handshake fails
 */
export async function serverHandshake(socket: Duplex, options: TlsOptions): Promise<TLSSocket> {
  // A server that listens nowhere: connections are handed to it, as node:tls documents for "connection".
  const server = createServer(options);
  return await new Promise<TLSSocket>((resolve, reject) => {
    const fail = () => reject(new ConnectionEnded("handshake failed"));
    server.once("secureConnection", resolve);
    server.once("tlsClientError", fail);
    socket.once("close", fail);
    server.emit("connection", socket);
  });
}

export function tlsFacts(socket: TLSSocket): TlsFacts {
  const { servername }: { servername?: unknown } = socket;
  const commonName: unknown = socket.getPeerCertificate().subject?.CN;
  return {
    protocol: socket.getProtocol() ?? "",
    cipher: socket.getCipher().name,
    servername: typeof servername === "string" ? servername : undefined,
    clientName: typeof commonName === "string" ? commonName : undefined,
  };
}
