import assert from "node:assert/strict";
import { fork } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, it } from "node:test";
import { pathToFileURL } from "node:url";

import { freePort, waitFor } from "@postmq/testing";

import { AlonePlaces, formatRequestName, parseRequestName } from "./alone.ts";
import { requestName } from "../delivery.test-support.ts";

type Options = {
  readonly silenceLimitMs?: number;
  readonly draining?: AbortController;
  readonly concurrency?: number;
  readonly isWanted?: () => Promise<boolean>;
  /** Numbers of requests that another has tried while they waited. */
  readonly unwanted?: readonly number[];
  /** How many are to be tried, from number 7 on; 1 unless given. */
  readonly messages?: number;
  /** Run while the process runs, with a reader of what it said so far. */
  readonly meanwhile?: (said: () => Promise<string>) => Promise<void>;
};

/** Runs a program alone. It says things by `say` and `add`, and sees by `read` what was said. */
async function alone(source: string, options: Options = {}) {
  const directory = await mkdtemp(join(tmpdir(), "postmq-alone-"));
  try {
    const out = join(directory, "out");
    const said = () => readFile(out, "utf8").catch(() => "");
    await writeFile(
      join(directory, "entry.mjs"),
      `import { appendFileSync, readFileSync, writeFileSync } from "node:fs";
       const read = () => readFileSync(${JSON.stringify(out)}, "utf8");
       const say = (text) => writeFileSync(${JSON.stringify(out)}, text);
       const add = (text) => appendFileSync(${JSON.stringify(out)}, text);\n${source}`,
    );
    const notices: string[] = [];
    const places = new AlonePlaces({
      entry: pathToFileURL(join(directory, "entry.mjs")),
      concurrency: options.concurrency ?? 50,
      isWanted: options.isWanted ?? (async ({ number }) => !options.unwanted?.includes(number)),
      draining: (options.draining ?? new AbortController()).signal,
      onNotice: (_, text) => notices.push(text),
      ...(options.silenceLimitMs === undefined ? {} : { silenceLimitMs: options.silenceLimitMs }),
    });
    const names = Array.from({ length: options.messages ?? 1 }, (_, index) =>
      requestName(7 + index),
    );
    const gone = Promise.all(names.map((name) => places.run(name)));
    await options.meanwhile?.(said);
    const how = await gone;
    return { notices, said: await said(), how };
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

describe("trying a message alone", () => {
  it("39: tells the process which request it is to try", async () => {
    const { said, notices } = await alone("say(process.argv[2]); process.disconnect();");
    assert.deepEqual(parseRequestName(said), requestName(7));
    assert.deepEqual(notices, []);
  });

  it("39: the parent outlives a process that dies, by itself or by a signal", async () => {
    assert.match((await alone("process.exit(70);")).notices[0] ?? "", /ended with status 70$/);
    assert.match((await alone("process.abort();")).notices[0] ?? "", /ended with signal SIGABRT$/);
  });

  it("39: a process that hangs is killed", async () => {
    const { notices } = await alone("for (;;);", { silenceLimitMs: 300 });
    assert.match(notices[0] ?? "", /is silent: killing it$/);
    assert.match(notices[1] ?? "", /ended with signal SIGKILL$/);
  });

  it("39: one that says that it lives is left alone", async () => {
    const { notices } = await alone(
      `let left = 8;
       process.send("alive");
       const timer = setInterval(() => {
         process.send("alive");
         if (--left === 0) { clearInterval(timer); process.disconnect(); }
       }, 1600);`,
      { silenceLimitMs: 10_000 },
    );
    assert.deepEqual(notices, []);
  });

  it("P10: SIGTERM is passed on", async () => {
    const draining = new AbortController();
    const { said } = await alone(
      `process.on("SIGTERM", () => { say("asked to end"); process.disconnect(); });
       process.on("message", () => {});
       say("ready");`,
      {
        draining,
        meanwhile: async (sofar) => {
          await waitFor(async () => (await sofar()) === "ready");
          draining.abort();
        },
      },
    );
    assert.equal(said, "asked to end");
  });

  it("39: has three processes at most at once, and the others wait", async () => {
    const { said, how } = await alone(
      // The first three wait for each other, and a while for one too many.
      `add("+");
       const timer = setInterval(() => {
         if (read().split("+").length <= 3) return;
         clearInterval(timer);
         setTimeout(() => { add("-"); process.disconnect(); }, 200);
       }, 20);`,
      { messages: 7 },
    );
    let running = 0;
    let most = 0;
    for (const mark of said) {
      running += mark === "+" ? 1 : -1;
      most = Math.max(most, running);
    }
    assert.equal(most, 3);
    assert.equal(said.length, 14);
    assert.ok(how.every((one) => one === "tried"));
  });

  it("39: takes a quarter of the daemon's deliveries at most, waiting ones included", async () => {
    const { said, how } = await alone(`add("+"); process.disconnect();`, {
      messages: 8,
      concurrency: 20,
    });
    assert.equal(said.length, 5);
    assert.deepEqual(how.slice(5), ["passed", "passed", "passed"]);
  });

  it("39: passes over one that was tried elsewhere while it waited", async () => {
    const { said, how } = await alone(`add("+"); process.disconnect();`, {
      messages: 5,
      unwanted: [7, 11],
    });
    assert.equal(said.length, 4);
    assert.deepEqual(how, ["tried", "tried", "tried", "tried", "passed"], "only that which waited");
  });

  it("P10: those that wait are not tried any more at SIGTERM", async () => {
    const draining = new AbortController();
    const { said, how } = await alone(
      `process.on("SIGTERM", () => process.exit(0)); process.on("message", () => {}); add("+");`,
      {
        draining,
        messages: 5,
        meanwhile: async (sofar) => {
          await waitFor(async () => (await sofar()) === "+++");
          draining.abort();
        },
      },
    );
    assert.equal(said, "+++");
    assert.deepEqual(how, ["tried", "tried", "tried", "draining", "draining"]);
  });

  it("P10: one that has just got its place is not tried when SIGTERM comes, whatever Redis does", async () => {
    const draining = new AbortController();
    const { said, how } = await alone(`add("+"); process.disconnect();`, {
      draining,
      messages: 4,
      isWanted: () => {
        setImmediate(() => draining.abort());
        return new Promise(() => {});
      },
    });
    assert.ok(said.length <= 3, "the fourth got a process");
    assert.equal(how.at(-1), "draining");
  });

  it("39: ends when its daemon is gone before it has claimed anything, whatever Redis does", async () => {
    const name = formatRequestName(requestName(7));
    const child = fork(new URL("./alone-main.ts", import.meta.url), [name], {
      env: { ...process.env, POSTMQ_REDIS_URL: `redis://127.0.0.1:${await freePort()}` },
      stdio: ["ignore", "pipe", "inherit", "ipc"],
    });
    const exited = once(child, "exit");
    await once(child.stdout ?? child, "data");
    child.disconnect();
    assert.deepEqual(await exited, [0, null]);
  });

  it("reads back the names it writes, and nothing else", () => {
    const name = requestName(12);
    assert.deepEqual(parseRequestName(formatRequestName(name)), name);
    for (const text of ["", "a/1", "a/b/c", "a:b/1/1", "a/1/1/1", "../x/1/1"])
      assert.equal(parseRequestName(text), undefined, text);
  });
});
