/**
 * The program behind postmq, sendmail, mailq, postqueue and qshape: the first argument says as which it was called.
 *
 * Source: DESIGN §7.
 */
import { once } from "node:events";
import { fstatSync } from "node:fs";
import { userInfo } from "node:os";

import { exitCodes } from "@postmq/vocabulary";

import { CommandFailure } from "./command.ts";
import { runCommand } from "./run-command.ts";
import { shownLines } from "./shown-text.ts";

const verbs = process.argv.slice(2, 4);
const isSupervisor = verbs.includes("start");
const isBackup = verbs.includes("export");
let isStdoutGone = false;

process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  if (isSupervisor) {
    // Whoever watched it is gone (`npm start | head`): it drains and ends in order, its Redis last.
    if (!isStdoutGone) process.kill(process.pid, "SIGTERM");
    isStdoutGone = true;
    return;
  }
  // Whoever read the listing has seen enough (`mailq | head`); of a backup nobody has.
  process.exit(error.code === "EPIPE" && !isBackup ? exitCodes.ok : exitCodes.ioErr);
});

// Whoever watched is gone (`postsuper -d - 2>&1 | head`): what was asked for is done to its end, and noted.
process.stderr.on("error", () => undefined);

try {
  const exitCode = await runCommand({
    args: process.argv.slice(2),
    env: process.env,
    input: standardInput(),
    isTerminal: process.stdout.isTTY,
    isErrorTerminal: process.stderr.isTTY,
    print: (text) => process.stdout.write(text),
    stream: async (part) => {
      if (!process.stdout.write(part)) await once(process.stdout, "drain");
    },
    complain: (text) => process.stderr.write(shownLines(text)),
    user: currentUser(),
  });
  // A service manager that ends the system does not wait for whoever watches it.
  if (!isSupervisor) await Promise.all([taken(process.stdout), taken(process.stderr)]);
  // What is still open (a connection that waits for Redis) must not keep a command from ending.
  process.exit(exitCode);
} catch (error) {
  // A bug: what the caller handed in is not known to be stored.
  process.stderr.write(`${error instanceof Error ? error.stack : String(error)}\n`);
  process.exit(exitCodes.software);
}

/** Whoever reads it slowly has all of it: what waits in this process ends with it. */
async function taken(stream: NodeJS.WriteStream): Promise<void> {
  if (stream.writableLength === 0) return;
  await new Promise<void>((resolve) => {
    stream.write("", () => resolve());
  });
}

/** Opened when it is read: most commands never do. To Node a directory looks empty; it is no message. */
async function* standardInput(): AsyncGenerator<Buffer, void, void> {
  if (fstatSync(0).isDirectory()) {
    throw new CommandFailure(exitCodes.ioErr, "standard input is a directory");
  }
  for await (const chunk of process.stdin) yield chunk;
}

function currentUser() {
  const uid = process.getuid?.() ?? 0;
  try {
    return { uid, name: userInfo().username };
  } catch {
    // No such user in the passwd file, as in a container that runs under any uid.
    return { uid, name: `uid${uid}` };
  }
}
