/**
 * Opening a connection to one address of a server: TCP, or a UNIX socket of this machine (LMTP).
 *
 * Reasons are the system's own words, as Postfix prints them. Source: spec §2 "connect"; Postfix src/smtp/smtp_connect.c.
 */
import { connect } from "node:net";
import type { Socket } from "node:net";

export type DialOptions = {
  /** An IP address, or the path of a UNIX socket, from the root. */
  readonly address: string;
  /** Of no meaning for a UNIX socket. */
  readonly port: number;
  /** Source address of the same family, or empty. Source: postconf(5) smtp_bind_address, smtp_bind_address6. */
  readonly bindAddress: string;
  /** Without it no connection is wanted. Source: postconf(5) smtp_bind_address_enforce. */
  readonly mustBind?: boolean;
  /** Told when the source address can't be had. */
  readonly onBindFailure?: (text: string) => void;
  /** 0: the system's own limit. */
  readonly timeoutMs: number;
};

/** What dial says where its source address must be used and can't. Source: Postfix src/smtp/smtp_connect.c. */
export const bindFailure = "server configuration error";

/** @returns the open socket, or why there is none: "Connection refused". */
export function dial(options: DialOptions): Promise<Socket | string> {
  return new Promise((resolve) => {
    const binds = options.bindAddress !== "";
    const socket = options.address.startsWith("/")
      ? connect({ path: options.address })
      : connect({
          host: options.address,
          port: options.port,
          noDelay: true,
          ...(binds ? { localAddress: options.bindAddress } : {}),
        });
    const timer =
      options.timeoutMs === 0
        ? undefined
        : setTimeout(() => fail("Connection timed out"), options.timeoutMs);
    const fail = (reason: string) => {
      clearTimeout(timer);
      socket.removeListener("error", onError);
      // Whatever the system still has to say about this socket is of no interest.
      socket.on("error", () => {});
      socket.destroy();
      resolve(reason);
    };
    const onError = (error: NodeJS.ErrnoException) => {
      if (error.syscall !== "bind") {
        fail(systemErrorText(error));
        return;
      }
      options.onBindFailure?.(`bind ${options.bindAddress}: ${systemErrorText(error)}`);
      if (options.mustBind !== true) resolve(dial({ ...options, bindAddress: "" }));
      fail(bindFailure);
    };
    socket.once("error", onError);
    socket.once("connect", () => {
      clearTimeout(timer);
      socket.removeListener("error", onError);
      resolve(socket);
    });
  });
}

function systemErrorText(error: NodeJS.ErrnoException): string {
  return systemErrorTexts.get(error.code ?? "") ?? error.message;
}

/** Source: strerror(3) of the GNU C library. */
const systemErrorTexts: ReadonlyMap<string, string> = new Map([
  ["ECONNREFUSED", "Connection refused"],
  ["ECONNRESET", "Connection reset by peer"],
  ["ETIMEDOUT", "Connection timed out"],
  ["EHOSTUNREACH", "No route to host"],
  ["ENETUNREACH", "Network is unreachable"],
  ["EADDRNOTAVAIL", "Cannot assign requested address"],
  ["EINVAL", "Invalid argument"],
  ["EACCES", "Permission denied"],
  ["EPERM", "Operation not permitted"],
  ["EMFILE", "Too many open files"],
  ["ENOENT", "No such file or directory"],
  ["ENOTSOCK", "Socket operation on non-socket"],
]);
