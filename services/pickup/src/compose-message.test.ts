import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { scanHeaders } from "@postmq/mail-format";

import { composeMessage } from "./compose-message.ts";
import type { MessageContent } from "./message-content.ts";

const made = { sender: "env@src.example", messageId: "<id@mail.example>", dateMs: 0 };
const bare: MessageContent = { to: [], cc: [], headers: [], attachments: [] };

async function compose(content: Partial<MessageContent>): Promise<string> {
  return (await composeMessage({ ...bare, ...content }, made)).toString("latin1");
}

function header(message: string, name: string): readonly string[] {
  const { headers } = scanHeaders(Buffer.from(message, "latin1"));
  return headers.filter((each) => each.name === name).map((each) => each.value());
}

describe("a composed message", () => {
  it("has the headers that were given, encoded, and Message-ID, Date and From of ours where none was", async () => {
    const message = await compose({
      to: ["B <b@dest.example>", "c@dest.example"],
      subject: "Grüße",
      text: "hallo",
      headers: [
        { key: "X-Tag", value: "a" },
        { key: "X-Tag", value: "ü" },
      ],
    });
    assert.deepEqual(header(message, "from"), ["env@src.example"]);
    assert.deepEqual(header(message, "to"), ["B <b@dest.example>, c@dest.example"]);
    assert.deepEqual(header(message, "subject"), ["=?UTF-8?Q?Gr=C3=BC=C3=9Fe?="]);
    assert.deepEqual(header(message, "x-tag"), ["a", "=?UTF-8?B?w7w=?="]);
    assert.deepEqual(header(message, "message-id"), ["<id@mail.example>"]);
    assert.deepEqual(header(message, "date"), ["Thu, 01 Jan 1970 00:00:00 +0000"]);
    assert.deepEqual(header(message, "mime-version"), ["1.0"]);
  });

  it("has text and html as alternatives, attachments beside them, and only CRLF line ends", async () => {
    const message = await compose({
      text: "plain ü\n.\n",
      html: "<b>x</b>\n",
      attachments: [{ filename: "a.bin", content: Buffer.from([0, 255, 10]), contentType: "x/y" }],
    });
    assert.match(header(message, "content-type").join(), /^multipart\/mixed;/);
    assert.match(message, /multipart\/alternative/);
    assert.match(message, /plain =C3=BC\r\n\.\r\n/);
    assert.match(message, /Content-Type: x\/y; name=a\.bin\r\nContent-Transfer-Encoding: base64/);
    assert.match(message, /\r\nAP8K\r\n/);
    assert.doesNotMatch(message, /[^\r]\n|\r[^\n]/);
  });

  it("keeps lines of the text below 1000 bytes", async () => {
    const message = await compose({ text: "x".repeat(5000) });
    assert.ok(message.split("\r\n").every((line) => line.length < 998));
  });

  it("has no From when the sender is null and none was given", async () => {
    const message = await composeMessage({ ...bare, text: "x" }, { ...made, sender: "" });
    assert.deepEqual(header(message.toString(), "from"), []);
  });
});
