/**
 * Ports for servers that can't be given port 0, since somebody must know the port before they run.
 *
 * They lie below the range from which the kernel takes the local ends of outgoing connections, so that a server that
 * is killed can be started again on the port it had.
 */
import { randomInt } from "node:crypto";
import { createServer } from "node:net";

const firstPort = 10_000;
const lastPort = 31_999;

/**
 * A port of 127.0.0.1 on which nothing listens, and which no other caller gets: it is reserved for as long as this
 * process lives, by a Unix socket of its name that has no file.
 */
export async function freePort(): Promise<number> {
  for (;;) {
    const port = randomInt(firstPort, lastPort + 1);
    if ((await reserve(port)) && (await isFree(port))) return port;
  }
}

function reserve(port: number): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.unref();
    server.once("error", takenOr(resolve, reject));
    server.listen({ path: `\0postmq-test-port-${port}` }, () => resolve(true));
  });
}

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once("error", takenOr(resolve, reject));
    server.listen(port, "127.0.0.1", () => server.close(() => resolve(true)));
  });
}

/** Says no when the address is taken; anything else (no more files, say) is an error. */
function takenOr(resolve: (isFree: boolean) => void, reject: (error: Error) => void) {
  return (error: NodeJS.ErrnoException) => {
    if (error.code === "EADDRINUSE") resolve(false);
    else reject(error);
  };
}
