import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";

import { loadParameters } from "@postmq/config";

import { openOutgoingContent } from "./open-outgoing-content.ts";
import type { OutgoingContent } from "./outgoing-content.ts";

const lines = (...all: readonly string[]) => `${all.join("\r\n")}\r\n`;
const eightBitMime = new Map([["8BITMIME", ""]]);

function open(env: Readonly<Record<string, string>> = {}): Promise<OutgoingContent> {
  const parameters = loadParameters({
    env: { POSTMQ_MYHOSTNAME: "mx.example.com", POSTMQ_MYORIGIN: "my.example", ...env },
    service: "smtp-delivery",
  });
  return openOutgoingContent(parameters, (text) => assert.fail(text));
}

function stored(content: string, encoding?: "7bit" | "8bit") {
  const whole = Buffer.from(content);
  return {
    contentId: "c",
    encoding,
    whole,
    read: async function* () {
      yield whole;
    },
  };
}

/** What is sent, and what was said about it. */
async function sent(content: OutgoingContent, message: string, offers = eightBitMime) {
  const log: string[] = [];
  const mail = await content.prepare(stored(message), offers, (level, text) =>
    log.push(`${level} ${text}`),
  );
  if (mail === undefined) return { text: message, log };
  assert.ok(mail.kind === "changed" && mail.whole !== undefined);
  return { text: mail.whole.toString(), log };
}

describe("content on its way out", () => {
  let directory = "";
  before(() => {
    directory = mkdtempSync(join(tmpdir(), "postmq-content-"));
  });
  after(() => rmSync(directory, { recursive: true }));

  function table(name: string, ...rules: readonly string[]): string {
    const path = join(directory, name);
    writeFileSync(path, `${rules.join("\n")}\n`);
    return `regexp:${path}`;
  }

  describe("what decides whether it is converted", () => {
    const eight = lines("Subject: x", "", "\u00e9");
    const none = new Map<string, string>();
    const never = () => {};

    it("D17 does not look at content when 8BITMIME is offered or the mail is 7-bit", async () => {
      const content = await open();
      const unread = { ...stored(eight), whole: undefined, read: () => assert.fail("read") };
      assert.equal(content.prepare(unread, eightBitMime, never), undefined);
      assert.equal(content.prepare(unread, new Map([["SMTPUTF8", ""]]), never), undefined);
      assert.equal(content.prepare({ ...unread, encoding: "7bit" }, none, never), undefined);
    });

    it("D17 looks at the bytes when nobody said what they are", async () => {
      const content = await open();
      assert.equal(content.prepare(stored("Subject: x\r\n\r\ny\r\n"), none, never), undefined);
      const mail = await content.prepare(stored(eight), none, never);
      assert.ok(mail?.kind === "changed" && mail.isConverted);
    });

    it("D17 leaves all as it is with disable_mime_output_conversion", async () => {
      const content = await open({ POSTMQ_DISABLE_MIME_OUTPUT_CONVERSION: "yes" });
      assert.equal(content.prepare(stored(eight, "8bit"), none, never), undefined);
    });
  });

  describe("UTF-8 in headers", () => {
    const has = async (text: string, chunkBytes: number) => {
      const content = Buffer.from(text);
      const read = async function* () {
        for (let at = 0; at < content.length; at += chunkBytes)
          yield content.subarray(at, at + chunkBytes);
      };
      return (await open()).hasUtf8Headers({ whole: undefined, read });
    };

    it("D18 UTF-8 in headers is found far beyond the first chunk, in parts and attached messages too", async () => {
      const long = `X: ${"y".repeat(70)}\r\n`.repeat(3_000);
      assert.equal(await has(`${long}Subject: \u00e9\r\n\r\nx\r\n`, 16_384), true);
      const part = lines(
        "Content-Type: multipart/mixed; boundary=b",
        "",
        "--b",
        "A: \u00e9",
        "",
        "--b--",
      );
      assert.equal(await has(part, 7), true);
      assert.equal(
        await has(lines("Content-Type: message/rfc822", "", "A: \u00e9", "", ""), 7),
        true,
      );
    });

    it("D18 UTF-8 in headers is not found in bodies", async () => {
      assert.equal(await has(lines("Subject: x", "", "Subject: \u00e9"), 7), false);
    });
  });

  describe("generic maps", () => {
    it("D21 generic maps rewrite addresses of the envelope and of the message's own headers", async () => {
      const content = await open({
        POSTMQ_SMTP_GENERIC_MAPS:
          "inline:{root@my.example=admin@example.com, @local.example=@example.com}",
      });
      const map = content.genericAddress ?? assert.fail("no map");
      assert.deepEqual(["root", "a@LOCAL.example", "b@example.net", ""].map(map), [
        "admin@example.com",
        "a@example.com",
        "b@example.net",
        "",
      ]);
      const message = (from: string, to: string) =>
        lines(
          `From: "R, \u00e9" <${from}>`,
          `To: x@example.net,`,
          ` ${to} (me)`,
          "Subject: a@local.example",
          "Content-Type: message/rfc822",
          "",
          "From: root@my.example",
          "",
          "root@my.example",
        );
      const { text } = await sent(content, message("root@my.example", "a@local.example"));
      assert.equal(text, message("admin@example.com", "a@example.com"));
    });

    it("D21 generic maps put an extension back only when propagate_unmatched_extensions names generic", async () => {
      const env = {
        POSTMQ_SMTP_GENERIC_MAPS: "inline:{a@b.example=c@d.example}",
        POSTMQ_RECIPIENT_DELIMITER: "+",
      };
      const plain = await open(env);
      assert.equal(plain.genericAddress?.("a+x@b.example"), "c@d.example");
      const propagating = await open({ ...env, POSTMQ_PROPAGATE_UNMATCHED_EXTENSIONS: "generic" });
      assert.equal(propagating.genericAddress?.("a+x@b.example"), "c+x@d.example");
    });
  });

  describe("checks while sending", () => {
    it("D21 checks take each class of headers and the lines of bodies to their own tables", async () => {
      const content = await open({
        POSTMQ_SMTP_HEADER_CHECKS: table(
          "header",
          "/^X-Secret:/ IGNORE",
          "/^Received:/ STRIP internal",
          "/^Subject : (.*)$/ never matched",
          "/^Subject: (.*)$/ REPLACE Subject: [out] $1",
          "/^To:.*\\n.*b@/ PREPEND X-Folded: yes",
          "/^Date:/ INFO seen",
          "/^Content-Type:/ IGNORE",
        ),
        POSTMQ_SMTP_MIME_HEADER_CHECKS: table(
          "mime",
          '/^(Content-Type: .*); name="x.exe"$/ REPLACE $1',
        ),
        POSTMQ_SMTP_NESTED_HEADER_CHECKS: table("nested", "/^Subject:/ REPLACE Subject: nested"),
        POSTMQ_SMTP_BODY_CHECKS: table(
          "body",
          "/secret (.*)/ REPLACE - $1",
          "/^gone/ IGNORE",
          "/^--b$/ WARN a part",
        ),
      });
      const { text, log } = await sent(
        content,
        lines(
          "Received: from here",
          "X-Secret: 1",
          " 2",
          "Subject : hello",
          "To: a@c,",
          " b@c",
          "Date: now",
          "Content-Type: multipart/mixed; boundary=b",
          "",
          "--b",
          'Content-Type: a/b; name="x.exe"',
          "",
          "the Secret \u00e9",
          "gone",
          "",
          "--b",
          "Content-Type: message/rfc822",
          "",
          "Subject: y",
          "X-Secret: 2",
          "",
          "--b--",
        ),
      );
      assert.equal(
        text,
        lines(
          "Subject: [out] hello",
          "X-Folded: yes",
          "To: a@c,",
          " b@c",
          "Date: now",
          "Content-Type: multipart/mixed; boundary=b",
          "",
          "--b",
          "Content-Type: a/b",
          "",
          "- \u00e9",
          "",
          "--b",
          "Content-Type: message/rfc822",
          "",
          "Subject: nested",
          "X-Secret: 2",
          "",
          "--b--",
        ),
      );
      assert.ok(log.includes("info strip: header Received: from here: internal"), log.join("\n"));
      assert.ok(log.includes("info info: header Date: now: seen"));
      assert.equal(log.filter((line) => line === "info warning: body --b: a part").length, 2);
      assert.ok(log.includes("info replace: body the Secret \u00e9: - \u00e9"));
    });

    it("D21 checks keep a line whose action is malformed or not for sending, and warn", async () => {
      const content = await open({
        POSTMQ_SMTP_HEADER_CHECKS: table(
          "bad",
          "/^A:/ REJECT no",
          "/^B:/ REPLACE none",
          "/^C:/ PREPEND",
        ),
      });
      const message = lines("A: 1", "B: 2", "C: 3", "", "");
      const { text, log } = await sent(content, message);
      assert.equal(text, message);
      assert.deepEqual(log, [
        "warning unsupported command in smtp_header_checks map: REJECT",
        'warning bad REPLACE header text "none" in smtp_header_checks map -- need "headername: headervalue"',
        "warning PREPEND action without text in smtp_header_checks map",
      ]);
    });

    it("D21 checks let no pattern make a new header out of a folded one", async () => {
      const content = await open({
        POSTMQ_SMTP_HEADER_CHECKS: table(
          "fold",
          "/^Subject: (.*\\n) *(.*)$/ REPLACE Subject: $1$2",
        ),
      });
      const { text } = await sent(content, lines("Subject: x", " Bcc: y@z", "", ""));
      assert.equal(text, lines("Subject: x", "\tBcc: y@z", "", ""));
    });

    it("D21 checks come after quoted-printable and before generic maps", async () => {
      const content = await open({
        POSTMQ_SMTP_HEADER_CHECKS: table(
          "order",
          "/^X-From: (.*)/ REPLACE From: $1",
          "/^From:/ PREPEND To: a@local",
        ),
        POSTMQ_SMTP_BODY_CHECKS: table("qp", "/^=C3=A9$/ REPLACE e"),
        POSTMQ_SMTP_GENERIC_MAPS: "inline:{@local=@out}",
      });
      const { text } = await sent(
        content,
        lines("X-From: b@local", "From: c@local", "", "\u00e9"),
        new Map(),
      );
      assert.match(text, /^From: b@out\r\nTo: a@local\r\nFrom: c@out\r\n[^]*\r\n\r\ne\r\n$/);
    });
  });
});
