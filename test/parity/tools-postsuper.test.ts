/**
 * postsuper beside Postfix's own: each command over the same messages, what it says, and what the queue is then.
 *
 * Source: postsuper(1); spec admin-tools.md §2, A1 to A5.
 */
import { describe, it } from "node:test";

import type { ToolRan } from "../support/postfix-spool.ts";
import { MailMaker } from "../support/queued-mail.ts";
import type { QueuedMail } from "../support/queued-mail.ts";
import type { Comparison } from "../support/side-by-side.ts";
import { sideBySideTests } from "../support/side-by-side.ts";

/** Messages by what they are, so that scenes can name them. */
function messages(nowMs: number) {
  const maker = new MailMaker(nowMs);
  const deferred = (address: string) => [{ address, reason: "connect to mx: Connection refused" }];
  return {
    dropped: maker.make({ queue: "maildrop", to: ["dropped@example.com"] }),
    incoming: maker.make({ queue: "incoming", to: ["new@example.com"] }),
    active: maker.make({ queue: "active", to: ["active@example.com"] }),
    one: maker.make({ to: deferred("one@example.org") }),
    two: maker.make({ to: deferred("two@example.org"), sender: "" }),
    late: maker.make({ to: deferred("late@example.org"), isForceExpired: true }),
    held: maker.make({ queue: "hold", to: ["held@example.com"] }),
    heldLate: maker.make({ queue: "hold", to: deferred("x@example.com"), isForceExpired: true }),
  };
}

type Messages = ReturnType<typeof messages>;
type Id = (name: keyof Messages) => string;
type Command = (id: Id) => { readonly words: readonly string[]; readonly input?: string };

describe("postsuper beside Postfix's", () => {
  const { fill } = sideBySideTests();

  /** Plays all scenes, then fails if some differed: the table shows all of them. */
  async function playAll(scenes: Readonly<Record<string, Command>>): Promise<void> {
    const problems: unknown[] = [];
    for (const [scene, command] of Object.entries(scenes)) {
      await play(scene, command).catch((error: unknown) => problems.push(error));
    }
    if (problems.length > 0) throw new AggregateError(problems, problems.map(String).join("\n\n"));
  }

  /** Runs one command on messages of its own, and compares the queue afterwards. */
  async function play(scene: string, command: Command): Promise<void> {
    const made = messages(Date.now());
    const all: readonly QueuedMail[] = Object.values(made);
    await using sides = await fill(scene, all);
    const { words, input } = command((name) => made[name].copy.id);
    await sides.compare({
      words: ["postsuper", ...words],
      ...(input === undefined ? {} : { input }),
      without: ordered,
      mayDiffer: "order within a queue",
    });
    await sides.compare({ words: ["postqueue", "-p"], ...afterwards(words) });
  }

  it("A2 -d deletes by id and ALL, from the queues named", async () => {
    await playAll({
      "-d": (id) => ({ words: ["-d", id("one")] }),
      "-d of each queue": (id) => ({
        words: (["dropped", "incoming", "active", "late", "held"] as const).flatMap((name) => [
          "-d",
          id(name),
        ]),
      }),
      "-d ALL": () => ({ words: ["-d", "ALL"] }),
      "-d ALL deferred": () => ({ words: ["-d", "ALL", "deferred"] }),
      "-d ALL hold maildrop": () => ({ words: ["-d", "ALL", "hold", "maildrop"] }),
      "-d in another queue": (id) => ({ words: ["-d", id("one"), "hold"] }),
      "-d twice": (id) => ({ words: ["-d", id("one"), "-d", id("one")] }),
      "-d all is an id": () => ({ words: ["-d", "all"] }),
    });
  });

  it("-h, -H, -e, -f act by id and ALL, each on its queues", async () => {
    await playAll({
      "-h": (id) => ({ words: ["-h", id("one"), "-h", id("active")] }),
      "-h of what is held": (id) => ({ words: ["-h", id("held")] }),
      "-h of maildrop": (id) => ({ words: ["-h", id("dropped")] }),
      "-h ALL": () => ({ words: ["-h", "ALL"] }),
      "-h ALL deferred": () => ({ words: ["-h", "ALL", "deferred"] }),
      "-h ALL maildrop": () => ({ words: ["-h", "ALL", "maildrop"] }),
      "-H": (id) => ({ words: ["-H", id("held"), "-H", id("one")] }),
      "-H ALL": () => ({ words: ["-H", "ALL"] }),
      "-e": (id) => ({ words: ["-e", id("one"), "-e", id("held")] }),
      "-e of what is expired": (id) => ({ words: ["-e", id("late")] }),
      "-e ALL": () => ({ words: ["-e", "ALL"] }),
      "-f": (id) => ({
        words: ["-f", id("held"), "-f", id("heldLate"), "-f", id("one")],
      }),
      "-f ALL": () => ({ words: ["-f", "ALL"] }),
      "-f ALL hold": () => ({ words: ["-f", "ALL", "hold"] }),
    });
  });

  it("-r requeues by id and ALL", async () => {
    await playAll({
      "-r": (id) => ({ words: ["-r", id("one")] }),
      "-r of hold and active": (id) => ({
        words: ["-r", id("held"), "-r", id("active")],
      }),
      "-r of maildrop": (id) => ({ words: ["-r", id("dropped")] }),
      "-r ALL": () => ({ words: ["-r", "ALL"] }),
      "-r ALL deferred": () => ({ words: ["-r", "ALL", "deferred"] }),
    });
  });

  it("several options run in the order given", async () => {
    await playAll({
      "-h -H": () => ({ words: ["-h", "ALL", "-H", "ALL"] }),
      "-H -h": () => ({ words: ["-H", "ALL", "-h", "ALL"] }),
      "-h -d -e": (id) => ({
        words: ["-h", id("one"), "-d", id("two"), "-e", id("late"), "-H", id("held")],
      }),
      "-e ALL -d": (id) => ({
        words: ["-e", "ALL", "-d", id("one"), "deferred", "hold"],
      }),
    });
  });

  it("ids come from standard input, bad ones are named and passed over", async () => {
    await playAll({
      "-d -": (id) => ({ words: ["-d", "-"], input: `${id("one")}\n${id("two")}\n` }),
      "-d - without the last newline": (id) => ({ words: ["-d", "-"], input: id("one") }),
      "-d - of nothing": () => ({ words: ["-d", "-"], input: "" }),
      "-d - with bad ids": (id) => ({
        words: ["-d", "-"],
        input: `${id("active")}*\n\n a b\n../x\n${id("held")}!\n${id("one")}\nÄ\n`,
      }),
      "-h - -d": (id) => ({
        words: ["-h", "-", "-d", id("two")],
        input: `${id("one")}\n`,
      }),
      "two -": (id) => ({ words: ["-h", "-", "-d", "-"], input: `${id("one")}\n` }),
      "ALL on standard input": () => ({ words: ["-d", "-"], input: "ALL\n" }),
      "bad ids": (id) => ({ words: ["-d", "a/b", "-d", "", "-d", id("one")] }),
      "unknown ids": () => ({ words: ["-d", "ABCDEF012345", "-r", "4jXVPf2kl5z00032H"] }),
    });
  });

  it("queues that are not, and options that are not, are refused", async () => {
    await playAll({
      "no such queue": () => ({ words: ["-d", "ALL", "nosuch"] }),
      "log queues": () => ({ words: ["-d", "ALL", "defer"] }),
      "-H of deferred": () => ({ words: ["-H", "ALL", "deferred"] }),
      "-x": () => ({ words: ["-x"] }),
      "-d without an id": () => ({ words: ["-d"] }),
      "-p": () => ({ words: ["-p"] }),
      "-v -p": () => ({ words: ["-p", "deferred"] }),
    });
  });
});

/** What the queue may differ in after a command. */
function afterwards(words: readonly string[]): Pick<Comparison, "without" | "mayDiffer"> {
  if (words.includes("-r")) {
    return { without: withoutIds, mayDiffer: "-r keeps the id, ends the mark; size in maildrop" };
  }
  if (words.includes("defer")) {
    return { without: withoutReasons, mayDiffer: "A2: reasons are no logs here" };
  }
  return { without: sortedListing, mayDiffer: "size in maildrop" };
}

/** What is said of messages of one command, in no order but for the report. */
function ordered(ran: ToolRan): ToolRan {
  const lines = ran.err.split("\n");
  const isReport = (line: string) => /^postsuper: [A-Z][\w -]+: \d+ message/.test(line);
  const said = lines.filter((line) => !isReport(line)).toSorted();
  return { ...ran, err: [...said, ...lines.filter(isReport)].join("\n") };
}

function sortedListing(ran: ToolRan): ToolRan {
  const out = ran.out.replaceAll(/(?<=^\w{17} ) +\d+/gm, " size").replace(/^-- \d+/m, "-- N");
  return {
    ...ran,
    out: out
      .split(/\n\n|(?<=-----)\n/)
      .toSorted()
      .join("\n"),
  };
}

function withoutIds(ran: ToolRan): ToolRan {
  const out = ran.out.replaceAll(
    /^\w{11,17}([*!]?)#? +\d+ \w{3} \w{3} [ \d]\d [\d:]{8}/gm,
    "id$1 size time",
  );
  return sortedListing({ ...ran, out });
}

function withoutReasons(ran: ToolRan): ToolRan {
  return sortedListing({ ...ran, out: ran.out.replaceAll(/^ +\(.*\)\n/gm, "") });
}
