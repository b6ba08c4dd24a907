import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { FakeSmtpServer } from "@postmq/testing";
import type { StoredRecipient } from "@postmq/vocabulary";

import { request, startWorker } from "../delivery.test-support.ts";

const envelope = { sender: "list@example.com", origin: "smtp", verpDelimiters: "+=" } as const;
const user: StoredRecipient = { address: "user@example.net", number: 0, state: { kind: "todo" } };

/** The sender and MAIL's parameters, as the server saw them. */
async function sentFrom(
  changes: Parameters<typeof request>[2],
  env: Readonly<Record<string, string>> = {},
): Promise<readonly string[]> {
  await using server = await FakeSmtpServer.start({ keywords: ["SMTPUTF8", "8BITMIME"] });
  await using test = await startWorker(env);
  await test.serve(request(1, server.relayhost, { envelope, recipients: [user], ...changes }));
  return server.messages.map(({ sender, mailParameters }) =>
    `${Buffer.from(sender, "latin1").toString()} ${mailParameters}`.trim(),
  );
}

describe("mail with VERP", () => {
  it("D33 has a sender that names the recipient", async () => {
    assert.deepEqual(await sentFrom({}), ["list+user=example.net@example.com"]);
  });

  it("D33 names the recipient as it was before rewriting, which is whom the sender knows", async () => {
    const recipients = [{ ...user, original: "alias@example.org" }];
    assert.deepEqual(await sentFrom({ recipients }), ["list+alias=example.org@example.com"]);
  });

  it("D33 has the null sender all the same, if that is what it came with", async () => {
    assert.deepEqual(await sentFrom({ envelope: { ...envelope, sender: "" } }), [""]);
  });

  it("D33, D21: generic maps see the sender that goes over the wire", async () => {
    const to = (key: string) => ({
      POSTMQ_SMTP_GENERIC_MAPS: `inline:{${key} = outside@example.org}`,
    });
    // An inline table has no key with = in it.
    const named = "list+user-example.net@example.com";
    const changes = { envelope: { ...envelope, verpDelimiters: "+-" } };
    assert.deepEqual(await sentFrom(changes, to(named)), ["outside@example.org"]);
    assert.deepEqual(await sentFrom(changes, to("list@example.com")), [named]);
  });

  it("D33, D18: asks for SMTPUTF8 where the recipient makes a sender in UTF-8", async () => {
    const recipients = [{ ...user, original: "jürgen@example.org" }];
    assert.deepEqual(await sentFrom({ recipients }), [
      "list+jürgen=example.org@example.com SMTPUTF8",
    ]);
  });

  it("D5: the relay host of a sender is that of the message's sender", async () => {
    await using test = await startWorker({
      POSTMQ_SENDER_DEPENDENT_RELAYHOST_MAPS: "inline:{list@example.com = [nosuch.example]}",
    });
    await test.serve(request(1, "[nosuch.example]", { envelope }));
    assert.deepEqual(test.delivering.shownOutcomes, ["0 deferred 4.3.5"]);
  });
});
