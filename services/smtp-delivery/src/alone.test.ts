import assert from "node:assert/strict";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, it } from "node:test";
import { pathToFileURL } from "node:url";

import { waitFor } from "@postmq/testing";

import { formatRequestName, parseRequestName, runAlone } from "./alone.ts";
import { requestName } from "./delivery.test-support.ts";

type Options = {
  readonly silenceLimitMs?: number;
  readonly draining?: AbortController;
  /** Run while the process runs, with a reader of what it said so far. */
  readonly meanwhile?: (said: () => Promise<string>) => Promise<void>;
};

/** Runs a program alone. It says things by `say`. */
async function alone(source: string, options: Options = {}) {
  const directory = await mkdtemp(join(tmpdir(), "postmq-alone-"));
  try {
    const out = join(directory, "out");
    const said = () => readFile(out, "utf8").catch(() => "");
    await writeFile(
      join(directory, "entry.mjs"),
      `import { writeFileSync } from "node:fs";
       const say = (text) => writeFileSync(${JSON.stringify(out)}, text);\n${source}`,
    );
    const notices: string[] = [];
    const gone = runAlone(requestName(7), {
      entry: pathToFileURL(join(directory, "entry.mjs")),
      draining: (options.draining ?? new AbortController()).signal,
      onNotice: (_, text) => notices.push(text),
      ...(options.silenceLimitMs === undefined ? {} : { silenceLimitMs: options.silenceLimitMs }),
    });
    await options.meanwhile?.(said);
    await gone;
    return { notices, said: await said() };
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
       const timer = setInterval(() => {
         process.send("alive");
         if (--left === 0) { clearInterval(timer); process.disconnect(); }
       }, 100);`,
      { silenceLimitMs: 600 },
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

  it("reads back the names it writes, and nothing else", () => {
    const name = requestName(12);
    assert.deepEqual(parseRequestName(formatRequestName(name)), name);
    for (const text of ["", "a/1", "a/b/c", "a:b/1/1", "a/1/1/1", "../x/1/1"])
      assert.equal(parseRequestName(text), undefined, text);
  });
});
