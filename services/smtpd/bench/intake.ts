/**
 * CPU that the SMTP server takes per message, without the store: `node services/smtpd/bench/intake.ts [messages]`.
 *
 * The server runs in a process of its own over an Intake that answers at once; Postfix's smtp-source sends 4 KB
 * messages over 20 sessions, once keeping its connections (-d) and once with one connection per message. User and
 * system time of the server process are printed per message, and those of smtp-source beside them, by which a noisy
 * machine shows. With PROFILE=<directory> set the server writes a CPU profile there.
 */
import { fork, spawn } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";

import type { Intake } from "@postmq/queue-store";

import { MemoryIntake } from "../src/memory-intake.test-support.ts";
import { startListener } from "../src/start-listener.test-support.ts";

const sessions = 20;
const contentBytes = 4096;
const rounds = 3;

type Usage = { readonly cpuUs: number; readonly messages: number };

async function serve(): Promise<void> {
  const memory = new MemoryIntake();
  let messages = 0;
  const intake: Intake = {
    refusal: () => undefined,
    flowIsDry: () => false,
    flowTokens: async () => 0,
    newId: () => memory.newId(),
    forgetTaken: () => memory.forgetTaken(),
    openContent: (id) => memory.openContent(id),
    commit: async ({ id }) => {
      memory.open.delete(id);
      messages++;
      return "stored";
    },
  };
  await using running = await startListener({ intake });
  let before = process.cpuUsage();
  const stopped = new Promise<void>((resolve) => {
    process.on("message", (order) => {
      if (order === "stop") {
        resolve();
        return;
      }
      const { user, system } = process.cpuUsage(before);
      const usage: Usage = { cpuUs: user + system, messages };
      process.send?.(usage);
      before = process.cpuUsage();
      messages = 0;
      running.lines.length = 0;
    });
  });
  process.send?.(running.port);
  await stopped;
  process.disconnect?.();
}

async function load(port: number, messages: number, isKept: boolean): Promise<number> {
  const before = process.resourceUsage();
  const options = [...(isKept ? ["-d"] : []), "-s", String(sessions), "-m", String(messages)];
  const addresses = ["-l", String(contentBytes), "-f", "a@example.com", "-t", "b@example.net"];
  const source = spawn("smtp-source", [...options, ...addresses, `127.0.0.1:${port}`], {
    stdio: "inherit",
  });
  const [status] = await once(source, "exit");
  if (status !== 0) throw new Error(`smtp-source ended with ${String(status)}`);
  return before.maxRSS;
}

async function measure(messages: number): Promise<void> {
  const profile = process.env["PROFILE"];
  const server = fork(fileURLToPath(import.meta.url), ["serve"], {
    execArgv: profile === undefined ? [] : ["--cpu-prof", `--cpu-prof-dir=${profile}`],
  });
  const [port] = await once(server, "message");
  const ask = async (): Promise<Usage> => {
    const answer = once(server, "message");
    server.send("usage");
    const [usage] = await answer;
    return usage;
  };
  for (const isKept of [true, false]) {
    await load(port, Math.min(messages, 2000), isKept);
    await ask();
    for (let round = 0; round < rounds; round++) {
      const startMs = performance.now();
      await load(port, messages, isKept);
      const seconds = (performance.now() - startMs) / 1000;
      const usage = await ask();
      const perMessage = (usage.cpuUs / usage.messages).toFixed(1);
      const rate = Math.round(usage.messages / seconds);
      console.log(
        `${isKept ? "kept sessions " : "new connections"} ${perMessage} µs CPU a message, ${rate} msg/s`,
      );
    }
  }
  server.send("stop");
  await once(server, "exit");
}

if (process.argv[2] === "serve") await serve();
else await measure(Number(process.argv[2] ?? 5000));
