import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { FakeSmtpServer } from "@postmq/testing";

import { chunkedRequest, request, startWorker, unreadable } from "../delivery.test-support.ts";

const eightBit = Buffer.from("Subject: x\r\nMIME-Version: 1.0\r\n\r\ngrün\r\n");
const envelope = { sender: "sender@example.com", origin: "smtp", encoding: "8bit" } as const;

async function sent(
  keywords: readonly string[],
  env: Readonly<Record<string, string>> = {},
  inline = eightBit,
) {
  await using server = await FakeSmtpServer.start({ keywords });
  await using test = await startWorker(env);
  await test.serve(request(1, server.relayhost, { inline, envelope }));
  const [message] = server.messages;
  return {
    message,
    text: message?.content.toString() ?? "",
    outcomes: test.delivering.shownOutcomes,
  };
}

describe("content for a server", () => {
  it("D17: goes as quoted-printable where 8BITMIME is not offered, and without a size (D15)", async () => {
    const { message, text } = await sent(["SIZE 0"]);
    assert.match(text, /Content-Transfer-Encoding: quoted-printable/);
    assert.match(text, /gr=C3=BCn/);
    assert.equal(message?.mailParameters, "");
  });

  it("D17: goes as it is where 8BITMIME is offered, and says so (D15)", async () => {
    const { message, text } = await sent(["SIZE 0", "8BITMIME"]);
    assert.equal(text, eightBit.toString());
    assert.equal(message?.mailParameters, `SIZE=${eightBit.length} BODY=8BITMIME`);
  });

  it("D17: goes as it is under disable_mime_output_conversion", async () => {
    const { text } = await sent([], { POSTMQ_DISABLE_MIME_OUTPUT_CONVERSION: "yes" });
    assert.equal(text, eightBit.toString());
  });

  it("D21: smtp_generic_maps rewrite envelope and headers", async () => {
    const { message, text } = await sent(
      ["8BITMIME"],
      { POSTMQ_SMTP_GENERIC_MAPS: "inline:{sender@example.com = outside@example.org}" },
      Buffer.from("From: sender@example.com\r\n\r\nx\r\n"),
    );
    assert.equal(message?.sender, "outside@example.org");
    assert.match(text, /^From: outside@example\.org/);
  });

  describe("generic maps and SMTPUTF8", () => {
    const generic = (map: string) => ({ POSTMQ_SMTP_GENERIC_MAPS: `inline:{${map}}` });
    const from = (address: string) => Buffer.from(`From: "M\u00fc" <${address}>\r\n\r\nx\r\n`);
    const ascii = from("a@example.com");
    const international = { ...envelope, sender: "j\u00fcrgen@example.com", smtputf8: true };

    it("D18: a sender, recipient or header that a map makes UTF-8 goes to no server without SMTPUTF8", async () => {
      for (const map of [
        "sender@example.com=j\u00fcrgen@example.com",
        "user1@example.net=\u00fcser@example.net",
        "a@example.com=j\u00fcrgen@example.com",
      ]) {
        const { message, outcomes } = await sent(["8BITMIME"], generic(map), ascii);
        assert.equal(message, undefined, map);
        assert.deepEqual(outcomes, ["0 failed 5.6.7"], map);
      }
    });

    it("D18: only the recipients that a map makes UTF-8 are refused", async () => {
      await using server = await FakeSmtpServer.start({ keywords: ["8BITMIME"] });
      await using test = await startWorker(generic("b@example.net=\u00fc@example.net"));
      const to = ["a@example.net", "b@example.net"];
      await test.serve(request(1, server.relayhost, { inline: ascii, envelope, to }));
      assert.deepEqual(test.delivering.shownOutcomes, ["0 sent 2.0.0", "1 failed 5.6.7"]);
      assert.deepEqual(server.messages[0]?.recipients, ["a@example.net"]);
    });

    it("D18: SMTPUTF8 is asked for when a map puts UTF-8 into a header", async () => {
      const { message } = await sent(
        ["8BITMIME", "SMTPUTF8"],
        generic("a@example.com=j\u00fcrgen@example.com"),
        ascii,
      );
      assert.match(message?.mailParameters ?? "", /SMTPUTF8/);
    });

    it("D18: mail that a map makes ASCII goes to any server", async () => {
      const map = generic(
        "j\u00fcrgen@example.com=j@example.com, \u00fc@example.net=u@example.net",
      );
      await using server = await FakeSmtpServer.start({ keywords: ["8BITMIME"] });
      await using test = await startWorker(map);
      const inline = Buffer.from("From: j\u00fcrgen@example.com\r\n\r\nx\r\n");
      const to = ["\u00fc@example.net"];
      await test.serve(request(1, server.relayhost, { inline, envelope: international, to }));
      assert.deepEqual(test.delivering.shownOutcomes, ["0 sent 2.0.0"]);
      assert.equal(server.messages[0]?.sender, "j@example.com");
      assert.match(server.messages[0]?.content.toString() ?? "", /^From: j@example\.com\r\n/);
    });

    it("D18: 8-bit bytes that were in a header before are let pass, maps or not", async () => {
      const map = generic("a@example.com=b@example.com");
      const { outcomes, text } = await sent(["8BITMIME"], map, ascii);
      assert.deepEqual(outcomes, ["0 sent 2.0.0"]);
      assert.equal(text, from("b@example.com").toString());
    });
  });

  it("D17, 40: content that can't be read while it is looked at ends the request, and nothing is sent", async () => {
    await using server = await FakeSmtpServer.start({ keywords: [] });
    await using test = await startWorker();
    test.delivering.content = async function* content() {
      yield Buffer.from("Subject: x\r\n\r\n");
      throw unreadable();
    };
    const large = chunkedRequest(1, server.relayhost, { sizeBytes: 20, chunks: 2 });
    await test.serve({ ...large, envelope });
    assert.equal(test.delivering.onlyEnd.end, "unreadable");
    assert.equal(server.messages.length, 0);
  });

  it("security 13: mail that asks for REQUIRETLS goes over no connection that does not offer it", async () => {
    await using server = await FakeSmtpServer.start();
    await using test = await startWorker();
    await test.serve(request(1, server.relayhost, { envelope: { ...envelope, requireTls: true } }));
    assert.deepEqual(test.delivering.shownOutcomes, ["0 failed 5.7.30"]);
    assert.equal(server.messages.length, 0);
  });
});
