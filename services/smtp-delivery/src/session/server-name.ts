/** A server as logs and reports name it. Source: spec delivery.md §8. */

/** Of a UNIX socket: our own name, its path, and port 0, as Postfix has it. */
export type ServerName = {
  readonly host: string;
  readonly address: string;
  readonly port: number;
};

/** name[address] */
/** As the log names it; a UNIX socket has no port. */
export function shownServer(server: ServerName): string {
  return server.port === 0 ? shownHost(server) : `${shownHost(server)}:${server.port}`;
}

export function shownHost(server: ServerName): string {
  return `${server.host}[${server.address}]`;
}
