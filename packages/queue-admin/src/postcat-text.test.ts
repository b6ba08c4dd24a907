import assert from "node:assert/strict";
import { describe, it } from "node:test";

import type { MessageCopy } from "@postmq/queue-store";
import { parseQueueId } from "@postmq/vocabulary";

import { postfixPath } from "./postcat-path.ts";
import { postcatText } from "./postcat-text.ts";
import type { PostcatOptions } from "./postcat-text.ts";
import { queueFile } from "./queue-file.ts";
import { recordedCommands } from "./samples.test-support.ts";

const id = parseQueueId("4jX2VT71HnzM14G") ?? assert.fail();
const arrivalMs = Date.parse("2026-11-21T19:35:29.123Z");

const copy: MessageCopy = {
  id,
  queue: "deferred",
  arrivalMs,
  createdMs: arrivalMs,
  envelope: {
    sender: "alice@sender1.example",
    origin: "smtp",
    client: {
      name: "localhost",
      address: "127.0.0.1",
      port: 51216,
      helo: "client.example.com",
      protocol: "SMTP",
    },
  },
  recipients: [{ number: 0, address: "bob@example.com", state: { kind: "todo" } }],
  attempts: 1,
  isForceExpired: false,
  wasWarned: false,
  isFinished: false,
};

const everything: PostcatOptions = {
  showsEnvelope: true,
  showsHeader: true,
  showsBody: true,
  showsOffsets: false,
  showsTypes: false,
  isVerbose: false,
  startOffset: 0,
};

/** Two chunks, cut amid a line end. */
async function* inTwo(text: string): AsyncGenerator<Buffer> {
  const cut = Math.max(text.indexOf("\r\n") + 1, 0);
  yield Buffer.from(text.slice(0, cut));
  yield Buffer.from(text.slice(cut));
}

async function shown(
  content: string,
  options: Partial<PostcatOptions> = {},
  changed: Partial<MessageCopy> = {},
): Promise<string> {
  const message = { copy: { ...copy, ...changed }, delayWarningMs: 0 };
  const path = postfixPath("deferred", id);
  const file = await queueFile(path, message, () => inTwo(content), true);
  const pieces: Buffer[] = [];
  for await (const piece of postcatText(file, { ...everything, ...options })) pieces.push(piece);
  return Buffer.concat(pieces).toString();
}

/** The sample's output of `postcat -q`, without what postmq does not store, and its content. */
function sample(): { readonly out: string; readonly content: string } {
  const [recorded] = recordedCommands("long/postcat.txt");
  const out = (recorded?.output ?? "").replaceAll(
    /^named_attribute: (?:rewrite_context|reverse_client_name|server_\w+)=.*\n/gm,
    "",
  );
  const text = /^\*\*\* MESSAGE CONTENTS .*\n([\s\S]*)^\*\*\* HEADER EXTRACTED/m.exec(
    out ?? "",
  )?.[1];
  return { out, content: (text ?? "").replaceAll("\n", "\r\n") };
}

describe("postcat's text", () => {
  it("is the sample's byte for byte, but that the content begins earlier by what is not stored", async () => {
    const { out, content } = sample();
    const unstored =
      "Arewrite_context=local Areverse_client_name=localhost Aserver_address=127.0.0.1 Aserver_port=2825";
    const missingBytes = unstored.split(" ").reduce((sum, word) => sum + word.length + 1, 0);
    const start = String(682 - missingBytes);
    assert.equal(await shown(content), out.replace("682", start));
  });

  it("shows headers, body, or both, and nothing else, with -h, -b, -bh", async () => {
    const content = "Subject: x\r\n\tfolded\r\nTo: y\r\n\r\nbody\r\nNot-a: header\r\n";
    const only = { showsEnvelope: false };
    assert.equal(
      await shown(content, { ...only, showsBody: false }),
      "Subject: x\n\tfolded\nTo: y\n",
    );
    assert.equal(await shown(content, { ...only, showsHeader: false }), "\nbody\nNot-a: header\n");
    assert.equal(await shown(content, only), content.replaceAll("\r\n", "\n"));
  });

  it("joins the parts of long lines again, but shows them as records with -o", async () => {
    const long = "x".repeat(5000);
    const content = `Subject: x\r\n\r\n${long}\r\n${long.slice(0, 2048)}\r\nend\r\n`;
    const body = { showsEnvelope: false, showsHeader: false };
    assert.equal(await shown(content, body), `\n${long}\n${long.slice(0, 2048)}\nend\n`);
    const lines = (await shown(content, { ...body, showsOffsets: true })).split("\n");
    assert.deepEqual(
      lines.map((line) => line.length),
      [10, 2058, 2058, 914, 2058, 10, 13, 0],
    );
  });

  it("counts offsets and the numbers of the first record as a file has them", async () => {
    const text = await shown("Subject: x\r\n\r\nbody\r\n", {
      showsOffsets: true,
      showsTypes: true,
    });
    const start = /(\d+) +77 \*\*\* MESSAGE CONTENTS/.exec(text)?.[1];
    const end = /(\d+) +88 \*\*\* HEADER EXTRACTED/.exec(text)?.[1];
    const sizes = /^ +0 +67 message_size: +(\d+) +(\d+) +1 +0 +(\d+) +0$/m.exec(text);
    assert.equal(Number(sizes?.[2]), Number(start) + 2);
    assert.equal(Number(sizes?.[1]), Number(end) - Number(start) - 2);
    assert.equal(sizes?.[1], sizes?.[3]);
    const from = await shown("Subject: x\r\n\r\nbody\r\n", { startOffset: Number(start) + 1 });
    assert.match(from, /^Subject: x\n\nbody\n\*\*\* HEADER EXTRACTED/);
  });

  it("tells DSN wishes, done recipients, VERP and the time of the warning", async () => {
    const text = await shown(
      "Subject: x\r\n\r\n",
      {},
      {
        envelope: {
          sender: "a@b.example",
          origin: "sendmail",
          fullName: "Ann\u001bB",
          envid: "e1",
          ret: "HDRS",
          encoding: "8bit",
          verpDelimiters: "+=",
        },
        recipients: [
          {
            number: 0,
            address: "x@y.example",
            notify: ["SUCCESS", "FAILURE"],
            state: { kind: "done" },
          },
          { number: 1, address: "z@y.example", original: "Z@y.example", state: { kind: "todo" } },
        ],
      },
    );
    assert.match(
      text,
      new RegExp(
        [
          "message_size: +\\d+ +\\d+ +2 +12 +\\d+ +0",
          "message_arrival_time: .*",
          "create_time: .*",
          "named_attribute: envelope_id=e1",
          "named_attribute: ret_flags=2",
          "named_attribute: rewrite_context=local",
          "sender_fullname: Ann\\?B",
          "sender: a@b.example",
          "named_attribute: encoding=8bit",
          "verp_delimiters: \\+=",
          "named_attribute: notify_flags=6",
          "named_attribute: dsn_orig_rcpt=rfc822;x@y.example",
          "original_recipient: x@y.example",
          "done_recipient: x@y.example",
          "named_attribute: dsn_orig_rcpt=rfc822;z@y.example",
          "original_recipient: Z@y.example",
          "recipient: z@y.example",
        ].join("\n"),
      ),
    );
  });

  it("names messages as Postfix lays them out", () => {
    assert.equal(postfixPath("deferred", id), `deferred/F/${id}`);
    assert.equal(postfixPath("active", id), `active/${id}`);
    const short = parseQueueId("4F9D195432C") ?? assert.fail();
    assert.equal(postfixPath("deferred", short), "deferred/4/4F9D195432C");
  });
});
