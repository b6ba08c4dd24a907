import assert from "node:assert/strict";
import { hostname } from "node:os";
import { describe, it } from "node:test";
import { makeQueueId } from "@postmq/vocabulary";
import { openLog, redact } from "./log.ts";
import type { Log, LogFormat } from "./log.ts";

const id = makeQueueId(1_700_000_000_000_000, 5);

function linesOf(act: (log: Log) => void, format: LogFormat = "postfix"): string {
  let written = "";
  act(
    openLog({
      syslogName: "postmq",
      service: "smtpd",
      format,
      write: (lines) => (written += lines),
      nowMs: () => Date.UTC(2026, 10, 21, 20, 1, 2, 3),
    }),
  );
  return written;
}

describe("log", () => {
  it("writes one line per event: time, host, service, process, queue id, text", () => {
    const start = `2026-11-21T20:01:02.003Z ${hostname()} postmq/smtpd[${process.pid}]: `;
    assert.equal(
      linesOf((log) => {
        log.info("removed", id);
        log.warning("slow", id);
        log.error("gone");
      }),
      `${start}${id}: removed\n${start}${id}: warning: slow\n${start}error: gone\n`,
    );
  });

  it("security 3: what a client sent stays on its line, without terminal codes", () => {
    const line = linesOf((log) => log.info("helo=<a\r\nfake\u001b[31m\0\u0085\u2028\u202e>"));
    assert.match(line, /helo=<a\?\?fake\?\[31m\?\?\?\?>\n$/);
    assert.equal(line.split("\n").length, 2);
  });

  it("security 14: passwords in URLs and tokens are cut out", () => {
    const line = linesOf((log) =>
      log.error(
        "connect redis://user:canary1@h:6379 rediss://:canary/2@h unix://:canary3@/x Authorization: Bearer canary4.x " +
          "AUTH PLAIN canary5== got",
      ),
    );
    assert.doesNotMatch(line, /canary/);
    assert.match(line, /redis:\/\/\*\*\*@h:6379/);
    assert.match(line, /got\n$/);
  });

  it("leaves mail addresses alone", () => {
    assert.equal(redact("to=<a@b.example>, relay=x"), "to=<a@b.example>, relay=x");
  });
});

describe("log_format = json", () => {
  const only = (act: (log: Log) => void): unknown => JSON.parse(linesOf(act, "json"));
  const origin = {
    time: "2026-11-21T20:01:02.003Z",
    host: hostname(),
    program: "postmq/smtpd",
    pid: process.pid,
  };

  it("writes an object per event, with the queue id as a member of its own", () => {
    assert.deepEqual(
      only((log) => log.info("removed", id)),
      { ...origin, level: "info", id, text: "removed" },
    );
    assert.deepEqual(
      only((log) => log.warning("slow")),
      { ...origin, level: "warning", text: "slow" },
    );
    assert.deepEqual(
      only((log) => log.error("gone")),
      { ...origin, level: "error", text: "gone" },
    );
  });

  it("writes one line for each, whatever is in it, and leaves out what an event lacks", () => {
    const lines = linesOf((log) => {
      log.info('a "quoted"\r\n\u2028\u001b[31m \ud800 text');
      log.record?.({ event: "delivery", to: "a@b\nc", relay: undefined, delays: [0, 1.5] }, id);
    }, "json").split("\n");
    assert.equal(lines.length, 3);
    assert.equal(JSON.parse(lines[0] ?? "").text, 'a "quoted"????[31m \ud800 text');
    assert.deepEqual(JSON.parse(lines[1] ?? ""), {
      ...origin,
      level: "info",
      id,
      event: "delivery",
      to: "a@b?c",
      delays: [0, 1.5],
    });
  });

  it("security 14: passwords are cut out of every field", () => {
    const line = linesOf(
      (log) => log.record?.({ event: "x", reason: "redis://user:canary1@h AUTH PLAIN canary2=" }),
      "json",
    );
    assert.match(line, /redis:\/\/\*\*\*@h/);
    assert.doesNotMatch(line, /canary/);
  });
});
