import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { CommandFailure } from "../command.ts";
import { parseSendmailArguments } from "./arguments.ts";
import type { Invocation, SendmailRequest } from "./arguments.ts";

function parse(args: readonly string[], given: Partial<Invocation> = {}): SendmailRequest {
  const warn = (text: string) => assert.fail(text);
  const base = { isMailq: false, userName: "alice", fullName: undefined, warn };
  return parseSendmailArguments({ ...base, args, ...given });
}

function submission(args: readonly string[], given: Partial<Invocation> = {}) {
  return parse(args, given).submission;
}

function assertExit(code: number, args: readonly string[]): void {
  const isExit = (error: unknown) => error instanceof CommandFailure && error.exitCode === code;
  assert.throws(() => parse(args), isExit, args.join(" "));
}

describe("sendmail's command line", () => {
  it("takes recipients as arguments, several in one, with names and comments", () => {
    const args = ["bob@example.net", "a@x.example, B <b@y.example>", "root", "--", "c@z.example"];
    assert.deepEqual(submission(args).recipients, [
      "bob@example.net",
      "a@x.example",
      "b@y.example",
      "root",
      "c@z.example",
    ]);
  });

  it("sends as the user who calls it, or as -f or -r says; <> is the null sender", () => {
    assert.equal(submission(["b@c.d"]).sender, "alice");
    assert.equal(submission(["-f", "x@y.z", "b@c.d"]).sender, "x@y.z");
    assert.equal(submission(["-rx@y.z", "b@c.d"]).sender, "x@y.z");
    assert.equal(submission(["-f", "X Y <x@y.z>", "b@c.d"]).sender, "x@y.z");
    assert.equal(submission(["-f<>", "b@c.d"]).sender, "");
    assert.equal(submission(["-f", "", "b@c.d"]).sender, "");
  });

  it("ends the input at a lone dot unless -i or -oi", () => {
    assert.equal(submission(["b@c.d"]).dotEndsInput, true);
    assert.equal(submission(["-i", "b@c.d"]).dotEndsInput, false);
    assert.equal(submission(["-oi", "b@c.d"]).dotEndsInput, false);
    assert.equal(submission(["-ti"]).dotEndsInput, false);
  });

  it("takes the full name from -F, else from NAME, and nothing in it can end a header", () => {
    assert.equal(submission(["-F", "A B", "b@c.d"], { fullName: "N" }).fullName, "A B");
    assert.equal(submission(["b@c.d"], { fullName: "N" }).fullName, "N");
    assert.equal(submission(["-F", "A\r\nBcc: x@y.z\u0000", "b@c.d"]).fullName, "A Bcc: x@y.z");
  });

  it("takes -B, -N, -R and -V", () => {
    const args = ["-B8BITMIME", "-N", "failure,delay", "-Rhdrs", "-V", "id-1", "b@c.d"];
    const { encoding, notify, ret, envid } = submission(args);
    assert.deepEqual(
      [encoding, notify, ret, envid],
      ["8bit", ["FAILURE", "DELAY"], "HDRS", "id-1"],
    );
  });

  it("warns of bad -N, -R and -V values and goes on without, as Postfix does", () => {
    const warnings: string[] = [];
    const args = ["-N", "never,delay", "-R", "x", "-V", "a\tb", "b@c.d"];
    const given = submission(args, { warn: (text) => void warnings.push(text) });
    assert.equal(warnings.length, 3);
    assert.deepEqual([given.notify, given.ret, given.envid], [undefined, undefined, undefined]);
  });

  it("D33: asks for VERP with -XV, and with the -V of old", () => {
    const warnings: string[] = [];
    const warn = (text: string) => void warnings.push(text);
    const verp = (...args: readonly string[]) => {
      const { verpDelimiters, envid, recipients } = submission(args, { warn });
      return [verpDelimiters, envid, ...recipients];
    };
    assert.deepEqual(verp("-XV", "b@c.d"), ["", undefined, "b@c.d"]);
    assert.deepEqual(verp("-XV-=", "b@c.d"), ["-=", undefined, "b@c.d"]);
    assert.deepEqual(verp("-V", "+=-", "b@c.d"), [undefined, "+=-", "b@c.d"]);
    assert.deepEqual(warnings, []);
    assert.deepEqual(verp("-V-=", "b@c.d"), ["-=", undefined, "b@c.d"]);
    assert.deepEqual(verp("-V", "-t", "b@c.d"), ["", undefined, "b@c.d"]);
    const deprecated = "is deprecated with Postfix 2.3; specify";
    assert.deepEqual(warnings, [
      `option -V-= ${deprecated} -XV-= instead`,
      `option -V ${deprecated} -XV instead`,
    ]);
  });

  it("ignores what Postfix ignores", () => {
    const args = [
      "-G",
      "-O",
      "x=y",
      "-om",
      "-o7",
      "-h5",
      "-m",
      "-n",
      "-U",
      "-Ltag",
      "-Xlog",
      "-Am",
    ];
    assert.deepEqual(submission([...args, "b@c.d"]).recipients, ["b@c.d"]);
  });

  it("lists as mailq and with -bp, and takes no recipients then", () => {
    assert.equal(parse([], { isMailq: true }).mode, "list");
    assert.equal(parse(["-bp"]).mode, "list");
    assert.equal(parse(["-bm", "b@c.d"]).mode, "submit");
    assertExit(64, ["-bp", "b@c.d"]);
  });

  it("runs the queue with -q; the last of -q and -b decides", () => {
    assert.equal(parse(["-q"]).mode, "flush");
    assert.equal(parse(["-q", "-q", "-f", "x@y.z"]).mode, "flush");
    assert.equal(parse(["-bp", "-q"]).mode, "flush");
    assert.equal(parse(["-q", "-bp"]).mode, "list");
    assert.equal(parse(["-q", "-bm", "b@c.d"]).mode, "submit");
    assert.equal(parse(["-q"], { isMailq: true }).mode, "flush");
    assertExit(64, ["-q", "b@c.d"]);
    assertExit(64, ["-q", "-t"]);
  });

  it("runs some messages with -qI, -qR, -qS, again and again with a time, and shows it with -v", () => {
    const run = (...args: readonly string[]) => parse(args).run;
    assert.deepEqual(run("-q", "-v"), { contains: [], isVerbose: true });
    assert.deepEqual(run("-q!Ifoo", "-qRexample.com", "-q", "-qSBob"), {
      contains: [
        { of: "id", text: "foo", isNot: true },
        { of: "recipient", text: "example.com", isNot: false },
        { of: "sender", text: "Bob", isNot: false },
      ],
      isVerbose: false,
    });
    assert.equal(run("-q30m").intervalMs, 1_800_000);
    assert.equal(run("-q15").intervalMs, 900_000, "no unit: minutes");
    assert.equal(run("-q1h30m").intervalMs, 5_400_000);
    assert.equal(run("-q15s", "-qSx").intervalMs, 15_000);
    assert.deepEqual(parse(["-bp"]).run, { contains: [], isVerbose: false });
    for (const option of [
      "-qI",
      "-q!R",
      "-qx",
      "-qf",
      "-q0",
      "-q99w",
      "-q-1",
      "-q5y",
      "-qS\u001B",
      "-q!",
    ])
      assertExit(64, [option]);
    assertExit(64, ["-q15m", "b@c.d"]);
    assertExit(64, ["-v", "b@c.d"]);
  });

  it("lists with -v as without it, as mailq -v does", () => {
    assert.equal(parse(["-v", "-bp"]).mode, "list");
  });

  it("names another queue with -oQ, another configuration with -C", () => {
    const { instance, config } = parse(["-oQold", "-C", "/etc/other", "b@c.d"]);
    assert.deepEqual([instance, config], ["old", "/etc/other"]);
  });

  it("refuses what is not there yet with exit 64 instead of ignoring it", () => {
    for (const option of ["-bs", "-bd", "-bi", "-bv", "-bl", "-I", "-v"]) {
      assertExit(64, [option, "b@c.d"]);
    }
    assertExit(64, ["-z", "b@c.d"]);
    assertExit(64, ["-B", "BINARY", "b@c.d"]);
  });

  it("3: refuses bad addresses with exit 65, among them such as would smuggle a command", () => {
    const bad = [
      "",
      "a b@c.d",
      "a@b@c",
      "a@b\r\nRCPT TO:<v@x.y>",
      "a\u0000@b.c",
      "\uD800@b.c",
      "a@-",
    ];
    for (const address of bad) {
      assertExit(65, ["--", address]);
      if (address !== "") assertExit(65, ["-f", address, "b@c.d"]);
    }
    assertExit(65, ["--", "-x@b.c"]);
  });
});
