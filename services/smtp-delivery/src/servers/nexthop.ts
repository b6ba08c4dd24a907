/**
 * The next hop of a delivery as Postfix writes it, taken apart: `host`, `host:port`, `[host]`, `[ip]:port`, lists.
 *
 * Source: spec D1; postconf(5) relayhost; transport(5).
 */
import { isIP } from "node:net";

/** One item of a next hop list. */
export type Nexthop = {
  /** As it is written, brackets and port included. */
  readonly text: string;
  /** Without brackets and without the prefix `ipv6:`; in LMTP also the path of a UNIX socket, from the root. */
  readonly host: string;
  readonly port: number;
  /** In brackets: its own addresses are looked up, not its MX hosts. */
  readonly isLiteral: boolean;
  /** Whether the port was named. */
  readonly hasPort: boolean;
};

/** Names of ports that make sense in a next hop; anything else is a number. Source: /etc/services. */
const portNames: ReadonlyMap<string, number> = new Map([
  ["smtp", 25],
  ["lmtp", 24],
  ["smtps", 465],
  ["submissions", 465],
  ["submission", 587],
]);

/** Source: postconf(5) smtp_tcp_port, lmtp_tcp_port. */
const defaultPorts = { smtp: 25, lmtp: 24 } as const;

/**
 * Items are separated by commas or white space; those of LMTP may begin with `inet:`, or be `unix:` and the path of a
 * socket. undefined: one of them is malformed, or there is none.
 */
export function parseNexthopList(
  text: string,
  protocol: keyof typeof defaultPorts = "smtp",
): readonly Nexthop[] | undefined {
  const items = text.split(/[\s,]+/).filter((item) => item !== "");
  const plain = protocol === "lmtp" ? items.map((item) => item.replace(/^inet:/i, "")) : items;
  const nexthops = plain
    .map((item) =>
      protocol === "lmtp" && /^unix:\//i.test(item)
        ? socketNexthop(item)
        : parseNexthop(item, defaultPorts[protocol]),
    )
    .filter((nexthop) => nexthop !== undefined);
  return nexthops.length === items.length && nexthops.length > 0 ? nexthops : undefined;
}

function parseNexthop(item: string, defaultPort: number): Nexthop | undefined {
  const match = /^(?:\[([^[\]]+)\]|([^[\]:]+))(?::([A-Za-z0-9-]+))?$/.exec(item);
  if (match === null) return undefined;
  const [, literal, name, portText] = match;
  const port = portText === undefined ? defaultPort : parsePort(portText);
  const host = literal?.replace(/^ipv6:/i, "") ?? name ?? "";
  if (port === undefined || !isHost(host)) return undefined;
  return {
    text: item,
    host,
    port,
    isLiteral: literal !== undefined,
    hasPort: portText !== undefined,
  };
}

/** Source: lmtp(8) "unix:pathname"; departs: the path begins at the root, since there is no queue directory. */
function socketNexthop(item: string): Nexthop {
  return { text: item, host: item.slice("unix:".length), port: 0, isLiteral: true, hasPort: false };
}

function parsePort(text: string): number | undefined {
  const port = portNames.get(text.toLowerCase()) ?? (/^\d{1,5}$/.test(text) ? Number(text) : 0);
  return port > 0 && port < 65_536 ? port : undefined;
}

/** An address, or a name that may be asked of DNS: no white space, controls or address syntax in it. */
function isHost(host: string): boolean {
  return (
    isIP(host) !== 0 ||
    (host.length <= 255 && /^[\p{L}\p{N}_-]+(?:\.[\p{L}\p{N}_-]+)*\.?$/u.test(host))
  );
}
