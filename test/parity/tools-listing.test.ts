/**
 * Listings beside Postfix's own tools: the same messages, byte for byte.
 *
 * Source: postqueue(1), mailq(1); spec admin-tools.md §1.
 */
import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { MailMaker } from "../support/queued-mail.ts";
import type { QueuedMail } from "../support/queued-mail.ts";
import type { ToolRan } from "../support/postfix-spool.ts";
import { sideBySideTests } from "../support/side-by-side.ts";

const refused = "connect to mx.example.org[192.0.2.1]:25: Connection refused";
const full = "host mx.example.com[192.0.2.2] said: 452 4.2.2 Mailbox full (in reply to RCPT TO)";
const listings = [["postqueue", "-p"], ["postqueue", "-j"], ["mailq"], ["sendmail", "-bp"]];

/** Every queue, every mark, reasons that are shared and not, addresses of every kind. */
export function mixedQueue(nowMs: number): readonly QueuedMail[] {
  const maker = new MailMaker(nowMs);
  const to = (address: string, reason?: string) => ({
    address,
    ...(reason === undefined ? {} : { reason }),
  });
  return [
    maker.make({ queue: "incoming", to: ["new@example.com"] }),
    maker.make({ queue: "active", to: ["a@example.com", to("b@example.com", refused)] }),
    maker.make({ queue: "active", to: ["c@example.com"], isForceExpired: true }),
    maker.make({ to: [to("one@example.org", refused)] }),
    maker.make({
      to: [
        to("x@example.com", full),
        to("y@example.org", refused),
        to("z@example.org", refused),
        to("w@example.com", full),
      ],
    }),
    maker.make({
      to: [{ address: "done@example.com", isDone: true }, to("left@example.com", full)],
    }),
    maker.make({ to: ["untried@example.com", to("tried@example.com", full), "other@example.com"] }),
    maker.make({ sender: "", to: [to("bounced-to@example.com", refused)] }),
    maker.make({
      sender: '"two words"@src.example.com',
      to: [to('"a\\"b c"@example.com', full), "o'brien+x=y@example.com", "user@[192.0.2.7]"],
    }),
    maker.make({ sender: "jürgen@münchen.example", to: [to("пётр@пример.example", refused)] }),
    maker.make({ to: [to("long@example.com", `${refused} ${"and so on ".repeat(60)}`.trim())] }),
    maker.make({ to: [to("odd@example.com", 'said "no" \\ <&> ä\tb')] }),
    maker.make({ to: [to("seventy@example.com", "x".repeat(75))] }),
    maker.make({ to: [to("late@example.com", refused)], isForceExpired: true }),
    maker.make({ queue: "hold", to: ["held@example.com"] }),
    maker.make({ queue: "hold", to: [to("held2@example.com", full)], isForceExpired: true }),
    maker.make({ to: ["short@example.com"], id: "4F9D195432C" }),
    maker.make({ to: ["old@example.com"], arrivalMs: nowMs - 40 * 86_400_000 }),
    maker.make({
      sender: `${"s".repeat(60)}@a-rather-long-domain-name.example.com`,
      to: ["big@example.com"],
      content: `Subject: big\n\n${"A line of text, and no more.\n".repeat(5_000)}`,
    }),
    maker.make({ to: Array.from({ length: 40 }, (_, i) => `list-${i}@example.com`) }),
  ];
}

describe("listings beside Postfix's", () => {
  const { fill } = sideBySideTests();

  /** Sorts messages, which lie in a directory in no order; queues stay in theirs, as -j tells. */
  const sorted = (ran: ToolRan): ToolRan => {
    const isJson = ran.out.startsWith("{");
    const queues = [...ran.out.matchAll(/^\{"queue_name": "(\w+)"/gm)].map((match) => match[1]);
    const order = queues.filter((queue, i) => queue !== queues[i - 1]).join(" ");
    const messages = ran.out.split(isJson ? "\n" : /\n\n|(?<=-----)\n/).toSorted();
    return { ...ran, out: `${order}\n${messages.join("\n")}` };
  };
  const mayDiffer = "Q9: order within a queue";

  it("say that the queue is empty", async () => {
    await using sides = await fill("empty", []);
    for (const words of listings) await sides.compare({ words });
  });

  it("show one message", async () => {
    await using sides = await fill("one", [
      new MailMaker(Date.now()).make({ to: ["a@example.com"] }),
    ]);
    for (const words of listings) await sides.compare({ words });
  });

  it("show every queue, mark, reason and address", async () => {
    await using sides = await fill("mixed", mixedQueue(Date.now()));
    for (const words of listings) await sides.compare({ words, without: sorted, mayDiffer });
  });

  it("show what waits in maildrop, and long lines, but with another size", async () => {
    const maker = new MailMaker(Date.now());
    await using sides = await fill("sizes", [
      maker.make({ queue: "maildrop", to: ["dropped@example.com", "b@example.com"] }),
      maker.make({ to: ["a@example.com"], content: `Subject: x\n\n${"y".repeat(300)}\n` }),
    ]);
    const sizeless = (ran: ToolRan): ToolRan => {
      const out = sorted(ran).out.replaceAll(/(?<=^\w{17} ) +\d+/gm, " size");
      return { ...ran, out: out.replaceAll(/(?<="message_size": )\d+/g, "size") };
    };
    for (const words of listings) {
      await sides.compare({
        words,
        without: sizeless,
        mayDiffer: "§1: content without a file's records",
      });
    }
  });

  it("show a thousand", async () => {
    const maker = new MailMaker(Date.now());
    const messages = Array.from({ length: 1000 }, (_, i) =>
      maker.make({
        queue: i % 7 === 0 ? "hold" : "incoming",
        sender: `s${i}@src.example.com`,
        to: [`r${i}@d${i % 10}.example.com`],
      }),
    );
    await using sides = await fill("1000", messages);
    const { out } = await sides.compare({
      words: ["postqueue", "-p"],
      without: sorted,
      mayDiffer,
    });
    assert.match(out, /-- \d+ Kbytes in 1000 Requests\./);
  });
});
