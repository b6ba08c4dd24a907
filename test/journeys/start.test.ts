/** `npm start`: the whole system under its supervisor, as somebody runs it who has just cloned this. */
import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, it, type TestContext } from "node:test";

import { Child, FakeSmtpServer, run, sendMail, testMail, waitFor } from "@postmq/testing";

const program = join(import.meta.dirname, "../../packages/commands/src/main.ts");

/** A configuration and data of its own; `start` runs the supervisor on it. */
async function place(test: TestContext, parameters: Readonly<Record<string, string>> = {}) {
  const directory = mkdtempSync(join(tmpdir(), "pmq-start-"));
  const sink = await FakeSmtpServer.start();
  const started: Child[] = [];
  const settings = {
    relayhost: sink.relayhost,
    myhostname: "mail.example.com",
    mynetworks: "127.0.0.0/8",
    smtpd_listen: "127.0.0.1:0",
    pickup_listen: "127.0.0.1:0",
    showq_listen: "127.0.0.1:0",
    metrics_listen: "127.0.0.1:0",
    ...parameters,
  };
  const lines = Object.entries(settings).map(([name, value]) => `${name} = ${value}\n`);
  writeFileSync(join(directory, "main.cf"), lines.join(""));
  const env = { POSTMQ_CONFIG: join(directory, "main.cf") };
  test.after(async () => {
    await Promise.all(started.map((child) => child.terminate()));
    await sink[Symbol.asyncDispose]();
    rmSync(directory, { recursive: true, force: true });
  });
  return {
    sink,
    start: (...args: readonly string[]) => {
      const child = new Child(process.execPath, [program, "start", ...args], { env });
      started.push(child);
      return child;
    },
    command: (...args: readonly string[]) => run(process.execPath, [program, ...args], { env }),
  };
}

async function whenReady(start: Child): Promise<void> {
  await waitFor(() => start.stdout.split("\n").includes("ready") || !start.isRunning, {
    timeoutMs: 60_000,
    describe: () => `ready\n${start.stdout}${start.stderr}`,
  });
  assert.equal(start.isRunning, true, start.stdout + start.stderr);
}

function portOf(start: Child, listener: string): number {
  const lines = [...start.stdout.matchAll(/^listening (\S+) \S+:(\d+)$/gm)];
  return Number(lines.findLast(([, name]) => name === listener)?.[2]);
}

/** The processes that the supervisor runs, by the path of their program. */
function childrenOf(start: Child): ReadonlyMap<number, string> {
  const pids = readFileSync(`/proc/${start.pid}/task/${start.pid}/children`, "utf8");
  const known = pids.split(" ").filter((pid) => pid !== "");
  return new Map(known.map((pid) => [Number(pid), readFileSync(`/proc/${pid}/cmdline`, "utf8")]));
}

function isAlive(pid: number): boolean {
  try {
    // A zombie's command line is empty.
    return readFileSync(`/proc/${pid}/cmdline`, "utf8") !== "";
  } catch {
    // It is gone.
    return false;
  }
}

describe("npm start", () => {
  it("brings everything up, passes mail on, and ends cleanly at SIGTERM", async (test) => {
    const { sink, start: startHere, command } = await place(test);
    const start = startHere("--scale", "smtp-delivery=2");
    await whenReady(start);
    const children = [...childrenOf(start)];
    assert.equal(children.length, 9);
    const reply = await sendMail(portOf(start, "smtpd"), testMail({ to: ["a@dest.example.com"] }));
    assert.equal(reply.code, 250);
    await waitFor(() => sink.accepted.length === 1, { timeoutMs: 10_000, describe: "the mail" });
    await waitFor(async () => (await command("mailq")).stdout.trim() === "Mail queue is empty", {
      timeoutMs: 10_000,
      describe: "an empty queue",
    });
    const { code } = await start.terminate();
    assert.equal(code, 0, start.stdout);
    assert.deepEqual(
      children.filter(([pid]) => isAlive(pid)),
      [],
    );
    assert.doesNotMatch(start.stdout, /warning: process/);
  });

  it("refuses a second start on the same data", async (test) => {
    const { start: startHere, command } = await place(test);
    const start = startHere();
    await whenReady(start);
    const second = await command("start");
    assert.equal(second.code, 1);
    assert.match(second.stderr, /already running/);
    assert.equal(start.isRunning, true);
  });

  it("starts a service again that was killed, and mail goes on", async (test) => {
    const { sink, start: startHere } = await place(test);
    const start = startHere();
    await whenReady(start);
    const [victim = 0] = [...childrenOf(start)].find(([, path]) => path.includes("/smtpd/")) ?? [];
    const port = portOf(start, "smtpd");
    process.kill(victim, "SIGKILL");
    await waitFor(() => portOf(start, "smtpd") !== port, {
      timeoutMs: 20_000,
      describe: "a new smtpd",
    });
    assert.match(start.stdout, /warning: process smtpd pid \d+ killed by SIGKILL/);
    const reply = await sendMail(portOf(start, "smtpd"), testMail());
    assert.equal(reply.code, 250);
    await waitFor(() => sink.accepted.length === 1, { timeoutMs: 10_000, describe: "the mail" });
  });

  it("P3 leaves no service behind when it is killed itself, and keeps the mail for the next start", async (test) => {
    const { sink, start: startHere, command } = await place(test);
    sink.decide = ({ stage }) => (stage === "rcpt" ? { reply: "451 4.3.0 later" } : undefined);
    const start = startHere();
    await whenReady(start);
    await sendMail(portOf(start, "smtpd"), testMail({ to: ["kept@dest.example.com"] }));
    const services = [...childrenOf(start)].filter(([, path]) => path.includes("/services/"));
    await start.kill9();
    await waitFor(() => services.every(([pid]) => !isAlive(pid)), {
      timeoutMs: 30_000,
      describe: "the end of all services",
    });
    const next = startHere();
    await whenReady(next);
    assert.match((await command("mailq")).stdout, /kept@dest\.example\.com/);
  });

  it("P8 refuses a wrong value with its name and exit 78, before it starts anything", async (test) => {
    const { command } = await place(test, { minimal_backoff_time: "soon" });
    const { code, stderr, stdout } = await command("start");
    assert.equal(code, 78);
    assert.match(stderr, /minimal_backoff_time.*soon/);
    assert.equal(stdout, "");
  });

  it("P8 refuses to scale what it does not know", async (test) => {
    const { command } = await place(test);
    const { code, stderr } = await command("start", "--scale", "smtp=4");
    assert.equal(code, 64);
    assert.match(stderr, /--scale smtp=4: no such service/);
  });
});
