/**
 * The program behind postmq, sendmail, mailq, postqueue and qshape: the first argument says as which it was called.
 *
 * Source: DESIGN §7.
 */
import { fstatSync } from "node:fs";
import { userInfo } from "node:os";

import { exitCodes } from "@postmq/vocabulary";

import { runCommand } from "./run-command.ts";

const isSupervisor = process.argv.slice(2, 4).includes("start");
let isStdoutGone = false;

process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  if (isSupervisor) {
    // Whoever watched it is gone (`npm start | head`): it drains and ends in order, its Redis last.
    if (!isStdoutGone) process.kill(process.pid, "SIGTERM");
    isStdoutGone = true;
    return;
  }
  // Whoever read the listing has seen enough (`mailq | head`).
  process.exit(error.code === "EPIPE" ? 0 : 74);
});

try {
  const exitCode = await runCommand({
    args: process.argv.slice(2),
    env: process.env,
    input: standardInput(),
    isTerminal: process.stdout.isTTY,
    print: (text) => process.stdout.write(text),
    complain: (text) => process.stderr.write(text),
    user: currentUser(),
  });
  // What is still open (a connection that waits for Redis) must not keep a command from ending.
  process.exit(exitCode);
} catch (error) {
  // A bug: what the caller handed in is not known to be stored.
  process.stderr.write(`${error instanceof Error ? error.stack : String(error)}\n`);
  process.exit(exitCodes.software);
}

/** Opened when it is read: most commands never do. To Node a directory looks empty; it is no message. */
async function* standardInput(): AsyncGenerator<Buffer, void, void> {
  if (fstatSync(0).isDirectory()) throw new Error("it is a directory");
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
