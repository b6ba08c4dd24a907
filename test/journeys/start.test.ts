/** `npm start`: the whole system under its supervisor, as somebody runs it who has just cloned this. */
import assert from "node:assert/strict";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";

import { Child, FakeSmtpServer, run, sendMail, testMail, waitFor } from "@postmq/testing";

const program = join(import.meta.dirname, "../../packages/commands/src/main.ts");

/** A configuration and data of its own; `start` runs the supervisor on it. */
class Place implements AsyncDisposable {
  readonly sink: FakeSmtpServer;
  readonly #directory = mkdtempSync(join(tmpdir(), "pmq-start-"));
  readonly #started: Child[] = [];

  constructor(sink: FakeSmtpServer, parameters: Readonly<Record<string, string>>) {
    this.sink = sink;
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
    writeFileSync(join(this.#directory, "main.cf"), lines.join(""));
  }

  static async make(parameters: Readonly<Record<string, string>> = {}): Promise<Place> {
    return new Place(await FakeSmtpServer.start(), parameters);
  }

  get #env() {
    return { POSTMQ_CONFIG: join(this.#directory, "main.cf") };
  }

  start(...args: readonly string[]): Child {
    const child = new Child(process.execPath, [program, "start", ...args], { env: this.#env });
    this.#started.push(child);
    return child;
  }

  /** Runs the supervisor in front of a pipe. */
  startInto(reader: string): Child {
    const command = `"${process.execPath}" "${program}" start | ${reader}`;
    return new Child("sh", ["-c", command], { env: this.#env });
  }

  /** Of the Redis that the supervisor runs; undefined once that ended in order. */
  get redisPid(): number | undefined {
    const file = join(this.#directory, "var/redis/redis.pid");
    return existsSync(file) ? Number(readFileSync(file, "utf8")) : undefined;
  }

  command(...args: readonly string[]) {
    return run(process.execPath, [program, ...args], { env: this.#env });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#started.map((child) => child.terminate()));
    await this.sink[Symbol.asyncDispose]();
    rmSync(this.#directory, { recursive: true, force: true });
  }
}

async function whenReady(start: Child): Promise<void> {
  await waitFor(() => start.stdout.split("\n").includes("ready") || !start.isRunning, {
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
  let place: Place;
  let start: Child;

  before(async () => {
    place = await Place.make();
    start = place.start("--scale", "smtp-delivery=2");
    await whenReady(start);
  });
  after(() => place[Symbol.asyncDispose]());

  const passMailOn = async () => {
    const before = place.sink.accepted.length;
    const reply = await sendMail(portOf(start, "smtpd"), testMail({ to: ["a@dest.example.com"] }));
    assert.equal(reply.code, 250);
    await waitFor(() => place.sink.accepted.length > before, {
      describe: () => `the mail\n${start.stdout}`,
    });
  };

  it("brings everything up, as often as it is told, and passes mail on", async () => {
    assert.equal(childrenOf(start).size, 9);
    await passMailOn();
    await waitFor(
      async () => (await place.command("mailq")).stdout.trim() === "Mail queue is empty",
      { describe: "an empty queue" },
    );
  });

  it("refuses a second start on the same data", async () => {
    const second = await place.command("start");
    assert.equal(second.code, 1);
    assert.match(second.stderr, /already running/);
    assert.equal(start.isRunning, true);
  });

  it("tells which services run, as which processes (postmq status)", async () => {
    const { code, stdout } = await place.command("status");
    assert.equal(code, 0);
    assert.match(stdout, new RegExp(`^running as process ${start.pid} on .*\\n`));
    const told = [...stdout.matchAll(/^\S+ +(\d+) {2}ready$/gm)].map(([, pid]) => Number(pid));
    assert.deepEqual(told.toSorted(), [...childrenOf(start).keys()].toSorted());
    assert.match(stdout, /^smtp-delivery\/2 /m);
  });

  it("starts a service again that was killed, and mail goes on", async () => {
    const [victim = 0] = [...childrenOf(start)].find(([, path]) => path.includes("/smtpd/")) ?? [];
    const port = portOf(start, "smtpd");
    process.kill(victim, "SIGKILL");
    await waitFor(() => portOf(start, "smtpd") !== port, {
      describe: "a new smtpd",
    });
    assert.match(start.stdout, /warning: process smtpd pid \d+ killed by SIGKILL/);
    await passMailOn();
  });

  it("P10 drains and ends with 0 at SIGTERM, leaving no process behind: postmq stop waits for it", async () => {
    const children = [...childrenOf(start)];
    const { code, stderr } = await place.command("stop");
    assert.deepEqual({ code, stderr }, { code: 0, stderr: "" });
    assert.deepEqual(
      children.filter(([pid]) => isAlive(pid)),
      [],
    );
    assert.equal((await start.exited).code, 0, start.stdout);
  });

  it("nothing runs any more: status and stop say so, exit 1, whatever an end left behind", async () => {
    for (const command of ["status", "stop"]) {
      const { code, stdout } = await place.command(command);
      assert.equal(code, 1);
      assert.match(stdout, /^not running on \//);
    }
    assert.equal((await place.command("stop", "--data-directory", "/nowhere")).code, 1);
    assert.equal((await place.command("stop", "--now")).code, 64);
  });
});

describe("npm start that is killed itself", () => {
  it("P3 leaves no service behind, and keeps the mail for the next start", async () => {
    await using place = await Place.make();
    place.sink.decide = ({ stage }) =>
      stage === "rcpt" ? { reply: "451 4.3.0 later" } : undefined;
    const start = place.start();
    await whenReady(start);
    await sendMail(portOf(start, "smtpd"), testMail({ to: ["kept@dest.example.com"] }));
    const services = [...childrenOf(start)].filter(([, path]) => path.includes("/services/"));
    await start.kill9();
    await waitFor(() => services.every(([pid]) => !isAlive(pid)), {
      describe: "the end of all services",
    });
    const next = place.start();
    await whenReady(next);
    assert.match((await place.command("mailq")).stdout, /kept@dest\.example\.com/);
  });
});

describe("npm start that nobody watches any more", () => {
  it("drains and ends its Redis when the pipe behind it closes (npm start | head)", async () => {
    await using place = await Place.make();
    const shell = place.startInto("head -n 1");
    await waitFor(() => !shell.isRunning && place.redisPid === undefined, {
      describe: () => `its end\n${shell.stdout}${shell.stderr}`,
    });
    assert.match(shell.stdout, /^\S.*\n$/);
  });
});

describe("npm start that can't be", () => {
  it("P8 names a wrong value and exits 78, before it starts anything", async () => {
    await using place = await Place.make({ minimal_backoff_time: "soon" });
    const { code, stderr, stdout } = await place.command("start");
    assert.equal(code, 78);
    assert.match(stderr, /minimal_backoff_time.*soon/);
    assert.equal(stdout, "");
  });

  it("P8 refuses to scale what it does not know", async () => {
    await using place = await Place.make();
    const { code, stderr } = await place.command("start", "--scale", "smtp=4");
    assert.equal(code, 64);
    assert.match(stderr, /--scale smtp=4: no such service/);
  });
});
