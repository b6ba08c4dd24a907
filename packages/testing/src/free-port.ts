/**
 * Ports for servers that can't be given port 0.
 *
 * They lie below the range from which the kernel takes the local ends of outgoing connections, so that a server that
 * is killed can be started again on the port it had.
 */
import { randomInt } from "node:crypto";
import { createServer } from "node:net";

const firstPort = 10_000;
const lastPort = 31_999;

/** A port of 127.0.0.1 on which nothing listens. Another process may still take it: callers try again. */
export async function freePort(): Promise<number> {
  for (;;) {
    const port = randomInt(firstPort, lastPort + 1);
    if (await isFree(port)) return port;
  }
}

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once("error", () => resolve(false));
    server.listen(port, "127.0.0.1", () => server.close(() => resolve(true)));
  });
}
