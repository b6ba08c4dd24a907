import assert from "node:assert/strict";
import { describe, it } from "node:test";

import type { MessageCopy } from "@postmq/queue-store";
import { enhancedStatus, parseQueueId } from "@postmq/vocabulary";

import { ClassFactor, priorityOf, qfView, RecipientFactor, RetryFactor } from "./qf-view.ts";
import { readSample } from "./samples.test-support.ts";

const createdMs = 566_755_281_000;

const copy: MessageCopy = {
  id: parseQueueId("AA00269") ?? assert.fail(),
  queue: "deferred",
  arrivalMs: createdMs,
  createdMs,
  envelope: { sender: "geo", origin: "sendmail" },
  recipients: [
    {
      number: 0,
      address: "amy@zeus",
      state: {
        kind: "deferred",
        status: enhancedStatus("4.4.1"),
        reason: "Connection timed out during user open with zeus",
      },
    },
  ],
  attempts: 2,
  lastAttemptMs: createdMs + 60_000,
  isForceExpired: false,
  wasWarned: false,
  isFinished: false,
};

function view(changed: Partial<MessageCopy>, head = "Subject: x\r\n\r\nbody\r\n"): string {
  return qfView({ ...copy, ...changed }, Buffer.from(head), head.length);
}

/** Each line of a control file by its code, continuation lines with theirs. */
function linesOf(text: string): readonly string[] {
  return text.trimEnd().split(/\n(?![ \t])/);
}

describe("the control-file view (postcat --qf)", () => {
  it("says what AIX's sample says of its message, code for code", () => {
    const sample = linesOf(readSample("aix-qf.txt"));
    const headers = sample
      .filter((line) => line.startsWith("H"))
      .map((line) => line.replace(/^H(?:\?\w\?)?/, "").replaceAll("\n", "\r\n"));
    const ours = linesOf(view({}, `${headers.join("\r\n")}\r\n\r\nbody\r\n`));
    assert.equal(ours[0], "V8");
    assert.equal(ours.at(-1), ".");
    // The flags of mailers (?P?) are a matter of sendmail's configuration; the priority grows with the size.
    const plain = sample
      .map((line) => line.replace(/^H\?\w\?/, "H"))
      .filter((line) => !line.startsWith("P"));
    assert.deepEqual(
      plain.filter((line) => !ours.includes(line)),
      [],
    );
    const codes = ours.map((line) => line.slice(0, 1)).join("");
    assert.match(codes, /^VTKNPMF\$\$SRH+\.$/);
  });

  it("has every code where there is something to say", () => {
    const text = view({
      envelope: {
        sender: "list@a.example",
        origin: "smtp",
        encoding: "8bit",
        envid: "QQ314159",
        client: { name: "mx.a.example", address: "192.0.2.1", helo: "mx", protocol: "ESMTP" },
      },
      wasWarned: true,
      recipients: [
        { number: 0, address: "done@b.example", state: { kind: "done" } },
        {
          number: 1,
          address: "c@b.example",
          orcpt: "rfc822;C@b.example",
          notify: ["SUCCESS", "DELAY"],
          state: { kind: "todo" },
        },
      ],
    });
    assert.deepEqual(linesOf(text), [
      "V8",
      "T566755281",
      "K566755341",
      "N2",
      "P240020",
      "Fw8",
      "B8BITMIME",
      "ZQQ314159",
      "$rESMTP",
      "$smx",
      "Slist@a.example",
      "Qrfc822;C@b.example",
      "RPNSD:c@b.example",
      "HSubject: x",
      ".",
    ]);
  });

  it("marks reports, and lets no header drive a terminal", () => {
    const report = { ...copy.envelope, origin: "bounce", sender: "" } as const;
    const text = view({ envelope: report }, "Subject: a\u001b[2Jb\r\n\tfolded\r\n\r\n");
    assert.match(text, /^Fr$/m);
    assert.match(text, /^S$/m);
    assert.match(text, /^HSubject: a\?\[2Jb\n\tfolded$/m);
  });

  it("counts the priority from size, class, recipients and attempts", () => {
    const message = { recipients: [1, 2], attempts: 3 };
    const expected = 1000 - -60 * ClassFactor + 2 * RecipientFactor + 3 * RetryFactor;
    assert.equal(priorityOf(message, -60, 1000), expected);
    const plain = /^P(\d+)$/m.exec(view({}))?.[1];
    const bulk = /^P(\d+)$/m.exec(view({}, "Precedence: Bulk\r\n\r\n"))?.[1];
    assert.equal(Number(bulk) - Number(plain), 60 * ClassFactor);
  });
});
