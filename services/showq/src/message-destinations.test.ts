import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { enhancedStatus } from "@postmq/vocabulary";
import type { RecipientState, StoredRecipient } from "@postmq/vocabulary";

import { destinationsOf } from "./message-destinations.ts";

const rules = {
  resolve: (address: string) => ({
    transport: address.includes("slow") ? "slow" : "smtp",
    nexthop: address.slice(address.indexOf("@") + 1),
  }),
  recipientLimit: (transport: string) => (transport === "slow" ? 1 : 50),
  recipientDelimiter: "+",
};

const failed = { kind: "failed", status: enhancedStatus("5.1.1"), reason: "no" } as const;

function recipient(number: number, address: string, state: RecipientState): StoredRecipient {
  return { number, address, state };
}

describe("destinationsOf", () => {
  it("S16 names each destination of undone recipients once, per recipient where requests carry one", () => {
    const todo = { kind: "todo" } as const;
    const found = destinationsOf(
      {
        envelope: { sender: "s@here.example" },
        recipients: [
          recipient(0, "a@Far.example", todo),
          recipient(1, "Joe+x@slow.example", todo),
          recipient(2, "b@far.example", todo),
          recipient(3, "c@gone.example", failed),
          recipient(4, "al@slow.example", todo),
        ],
      },
      rules,
    );
    assert.deepEqual(
      found.map(({ name, recipients }) => [name, recipients.map(({ number }) => number)]),
      [
        ["smtp:far.example", [0, 2]],
        ["slow:joe@slow.example", [1]],
        ["slow:al@slow.example", [4]],
      ],
    );
  });
});
