/**
 * qshape beside the real script: its columns, rows and widths, on ages at every edge of every bucket.
 *
 * As commands, both take the time when they start; so that both see a message in the same bucket, ages lie somewhat
 * within the edges, on either side of each. On the edges themselves, to the second, the script is given a clock that
 * stands, and our table the same moment.
 *
 * Source: qshape(1); spec A6 to A12; Postfix auxiliary/qshape/qshape.pl.
 */
import assert from "node:assert/strict";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, it } from "node:test";

import { defaultQshapeLayout, qshapeAgeLimits, qshapeTable } from "@postmq/queue-admin";
import type { QshapeLayout } from "@postmq/queue-admin";

import { PostfixSpool } from "../support/postfix-spool.ts";
import type { ToolRan } from "../support/postfix-spool.ts";
import { PostmqQueue } from "../support/postmq-queue.ts";
import { MailMaker } from "../support/queued-mail.ts";
import type { QueuedMail } from "../support/queued-mail.ts";
import { sideBySideTests } from "../support/side-by-side.ts";
import type { SideBySide } from "../support/side-by-side.ts";

const minuteMs = 60_000;
/** Longer than a scene takes, and shorter than the narrowest bucket. */
const slackMs = 100_000;

/** A message just within, and one just beyond, each edge of buckets of `unit` minutes. */
function edges(unit: number, isLinear: boolean, count: number): readonly number[] {
  const ages = [1_000];
  for (let i = 1, edge = unit; i < count; i += 1, edge = isLinear ? edge + unit : edge * 2) {
    ages.push(edge * minuteMs - slackMs - 1_000, edge * minuteMs + 1_000);
  }
  return ages;
}

function aged(ages: readonly number[], nowMs: number): readonly QueuedMail[] {
  const maker = new MailMaker(nowMs);
  return ages.map((ageMs, i) =>
    maker.make({
      to: [`u@d${i % 3}.example.com`],
      sender: `s@sender${i % 2}.example`,
      arrivalMs: nowMs - ageMs,
    }),
  );
}

/** Domains of every depth and spelling; counts of which no two are equal within one length of names. */
function domains(nowMs: number): readonly QueuedMail[] {
  const maker = new MailMaker(nowMs);
  const many = (domain: string, count: number) =>
    Array.from({ length: count }, (_, i) => `u${i}@${domain}`);
  const under = (parent: string, children: number, count: number) =>
    Array.from({ length: children }, (_, i) => many(`c${i}.${parent}`, count + i)).flat();
  const long = `${"very-".repeat(10)}long-name.of.some-company.example`;
  return [
    maker.make({ to: under("big.example.com", 6, 10) }),
    maker.make({ to: under("small.example.org", 4, 20) }),
    maker.make({ to: under(long, 5, 30), sender: `a@${long}` }),
    maker.make({ to: many("UPPER.Example.NET", 3), sender: "b@Sender.EXAMPLE" }),
    maker.make({ to: many("dots..example.info.", 7), sender: "" }),
    maker.make({ to: ["postmaster", ...many("tld", 2)], sender: "" }),
    maker.make({ to: many("a.b.c.d.deep.example.biz", 9), sender: "x@sender.example" }),
    maker.make({
      to: [{ address: "done@example.com", isDone: true }, ...many("left.example.com", 8)],
      sender: "y@some.example",
    }),
    maker.make({ queue: "hold", to: many("held.example.com", 11) }),
    maker.make({ queue: "active", to: many("active.example.com", 12) }),
    maker.make({ queue: "incoming", to: many("new.example.com", 13) }),
  ];
}

describe("qshape beside the real script", () => {
  const { table, redisUrl, fill } = sideBySideTests();

  /** Rows of equal count and length are in no order with the script (A9). */
  const sorted = (ran: ToolRan): ToolRan => ({
    ...ran,
    out: ran.out
      .split("\n")
      .map((line, i) => ({ line, i }))
      .toSorted((a, b) => keyOf(b.line) - keyOf(a.line) || (a.line < b.line ? -1 : 1))
      .map(({ line }) => line)
      .join("\n"),
  });
  const keyOf = (line: string) => Number(/^ *\S+ +(\d+)/.exec(line)?.[1] ?? Infinity);
  const mayDiffer = "A9: order of equal rows";
  const compare = (sides: SideBySide, ...args: readonly string[]) =>
    sides.compare({ words: ["qshape", ...args], without: sorted, mayDiffer });

  it("A7 counts ages into the buckets of -b and -t, each twice as wide as the one before", async () => {
    await using sides = await fill("ages", aged(edges(5, false, 12), Date.now()));
    for (const b of ["1", "2", "3", "9", "10", "11", "12"]) {
      await compare(sides, "-b", b, "deferred");
    }
    await using ten = await fill("ages, -t 7", aged(edges(7, false, 8), Date.now()));
    await compare(ten, "-t", "7", "deferred");
    await compare(ten, "-t", "7", "-b", "8", "-s", "deferred");
  });

  it("A7 counts ages into buckets of one width with -l", async () => {
    await using sides = await fill("ages, -l", aged(edges(5, true, 12), Date.now()));
    for (const b of ["1", "2", "5", "12", "13"]) await compare(sides, "-l", "-b", b, "deferred");
    await using three = await fill("ages, -l -t 3", aged(edges(3, true, 12), Date.now()));
    await compare(three, "-l", "-t", "3", "deferred");
  });

  it("A7 has an age of exactly an edge in the older bucket, as the script has", async () => {
    const nowMs = Math.floor(Date.now() / 1000) * 1000;
    const layouts = [
      { ...defaultQshapeLayout },
      { ...defaultQshapeLayout, bucketCount: 4, unitMinutes: 1 },
      { ...defaultQshapeLayout, bucketCount: 12, isLinear: true },
      { ...defaultQshapeLayout, bucketCount: 7, unitMinutes: 3, isLinear: true },
    ];
    for (const layout of layouts) {
      const limits = qshapeAgeLimits(layout);
      const ages = [0, ...limits.flatMap((limit) => [limit - 1_000, limit, limit + 1_000])];
      const messages = aged(ages, nowMs);
      await using postfix = await PostfixSpool.write(messages);
      await using postmq = await PostmqQueue.fill(redisUrl(), messages);
      const args = ["-b", String(layout.bucketCount), "-t", String(layout.unitMinutes)];
      const words = ["qshape", ...args, ...(layout.isLinear ? ["-l"] : []), "deferred"];
      const theirs = await runAt(nowMs, postfix, words);
      const ours = await tableAt(nowMs, postmq, layout);
      const isSame = sorted(theirs).out === sorted({ ...theirs, out: ours }).out;
      const shown = `${ages.length} messages`;
      const sides = { postfix: shown, postmq: isSame ? "the same" : shown };
      table.add("edges", words.join(" "), sides);
      assert.equal(sorted({ ...theirs, out: ours }).out, sorted(theirs).out);
    }
  });

  it("A6 A8 A9 A10 shows domains, senders and parents in columns of any width", async () => {
    await using sides = await fill("domains", domains(Date.now()));
    await compare(sides);
    for (const args of [
      [],
      ["-s"],
      ["-p"],
      ["-p", "-m", "4"],
      ["-p", "-m", "1"],
      ["-p", "-s", "-m", "1"],
      ["-w", "40"],
      ["-w", "100"],
      ["-w", "200", "-p"],
      ["-b", "20"],
      ["-b", "20", "-w", "120"],
      ["-n", "3"],
      ["-N", "2"],
    ]) {
      await compare(sides, ...args, "deferred");
    }
    await compare(sides, "hold", "active");
    await compare(sides, "incoming", "active", "deferred", "hold");
  });

  it("A11 takes absolute paths, and says what it can't find", async () => {
    const maker = new MailMaker(Date.now());
    await using sides = await fill("operands", [
      maker.make({ queue: "hold", to: ["a@b.example"] }),
    ]);
    await compare(sides, `${sides.spoolDirectory}/hold`);
    await compare(sides, "maildrop");
    const err = (ran: ToolRan): ToolRan => ({
      ...ran,
      err: ran.err.replaceAll(/ at \S+ line \d+\.$/gm, "").trim(),
    });
    await sides.compare({
      words: ["qshape", "nosuch", "hold"],
      without: err,
      mayDiffer: "no line of a script",
    });
  });

  it("A12 shows an empty queue as a row of zeros", async () => {
    await using sides = await fill("empty", []);
    for (const args of [[], ["-s"], ["-p"], ["-l"], ["deferred"], ["-b", "3"]]) {
      await compare(sides, ...args);
    }
  });
});

/** The script with a clock that stands: Perl's time() is replaced before it is compiled. */
async function runAt(
  nowMs: number,
  postfix: PostfixSpool,
  words: readonly string[],
): Promise<ToolRan> {
  const module =
    "package StandingClock; BEGIN { *CORE::GLOBAL::time = sub { $ENV{STANDS_AT} } } 1;\n";
  await writeFile(join(postfix.directory, "StandingClock.pm"), module);
  return await postfix.run(words, "", {
    PERL5LIB: postfix.directory,
    PERL5OPT: "-MStandingClock",
    STANDS_AT: String(nowMs / 1000),
  });
}

async function tableAt(nowMs: number, postmq: PostmqQueue, layout: QshapeLayout): Promise<string> {
  await using store = await postmq.openStore();
  const ageLimitsMs = qshapeAgeLimits(layout);
  const rows = await store
    .looking()
    .qshape({ queues: ["deferred"], by: "recipient", ageLimitsMs, nowMs });
  return qshapeTable(rows, layout);
}
