import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { hasPostfixTools, smtpSink, smtpSource } from "./postfix-tools.ts";
import { sendMail } from "./smtp-client.ts";
import { waitFor } from "./wait-for.ts";

describe(
  "smtpSink and smtpSource",
  { skip: !hasPostfixTools() && "postfix is not installed" },
  () => {
    it("counts and keeps messages, with numbered recipients", async () => {
      await using sink = await smtpSink({ dumps: true });
      await smtpSource({ port: sink.port, messages: 5, lengthBytes: 100, numbersRecipients: true });
      await sendMail(sink.port, { from: "", to: ["x@y.example"], content: "A: b\r\n\r\n.dot\r\n" });
      await waitFor(() => sink.messages === 6);
      const dumps = await waitFor(async () => {
        const all = await sink.dumped();
        return all.length === 6 && all;
      });
      const recipients = dumps.flatMap((dump) => dump.recipients).toSorted();
      const numbered = [1, 2, 3, 4, 5].map((number) => `${number}user@dest.example.com`);
      assert.deepEqual(recipients, [...numbered, "x@y.example"]);
      const own = dumps.find((dump) => dump.sender === "");
      assert.equal(own?.content.toString(), "A: b\n\n.dot\n");
    });
  },
);
