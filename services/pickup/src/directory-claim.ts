/**
 * One pickup per drop directory: of several on one machine, one imports its files and the others wait.
 *
 * Two that worked on the same file could store it twice, if one of them stood still for as long as the message takes
 * to be delivered. The claim is an abstract Unix socket named after the directory's inode: the kernel lets one
 * process have it and frees it when that process ends, however it ends. On systems without abstract sockets, and
 * between machines or containers that share a directory, nothing is claimed: run one pickup there.
 *
 * Source: fault 3 (D0 for files); unix(7) "abstract".
 */
import { stat } from "node:fs/promises";
import { createServer } from "node:net";

export type DirectoryClaim = AsyncDisposable;

/** @returns undefined when another process has it */
export async function claimDirectory(directory: string): Promise<DirectoryClaim | undefined> {
  if (process.platform !== "linux") return { [Symbol.asyncDispose]: async () => undefined };
  const { dev, ino } = await stat(directory, { bigint: true });
  const server = createServer((socket) => socket.destroy());
  server.unref();
  return await new Promise((resolve, reject) => {
    server.once("error", (error: NodeJS.ErrnoException) => {
      if (error.code === "EADDRINUSE") resolve(undefined);
      else reject(error);
    });
    server.listen({ path: `\0postmq-drop-${dev}-${ino}` }, () =>
      resolve({
        [Symbol.asyncDispose]: () => new Promise((done) => server.close(() => done())),
      }),
    );
  });
}
