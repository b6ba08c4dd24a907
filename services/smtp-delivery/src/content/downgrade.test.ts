import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { seededRandom } from "@postmq/testing";

import { messageText, randomTree, readTrees } from "./mime-tree.test-support.ts";
import { OutgoingContent } from "./outgoing-content.ts";

const content = new OutgoingContent({
  converts: true,
  limits: { nestingLimit: 100, boundaryBytes: 2048, headerBytes: 102_400 },
  lineLimit: 998,
  changes: {},
});

/** What a server without 8BITMIME is sent, cut into chunks of this size on the way. */
async function downgraded(message: Buffer | string, chunkBytes = 0): Promise<Buffer> {
  const whole = typeof message === "string" ? Buffer.from(message, "latin1") : message;
  const read = async function* () {
    for (let at = 0; at < whole.length; at += chunkBytes) yield whole.subarray(at, at + chunkBytes);
  };
  const stored = {
    contentId: "c",
    encoding: "8bit",
    whole: chunkBytes === 0 ? whole : undefined,
    read,
  } as const;
  const mail = await content.prepare(stored, new Set(), () => {});
  if (mail === undefined) return whole;
  assert.equal(mail.kind, "changed");
  assert.equal(mail.isConverted, true);
  return mail.whole ?? Buffer.concat(await Array.fromAsync(mail.read()));
}

const lines = (...all: readonly string[]) => `${all.join("\r\n")}\r\n`;
const shown = async (...all: readonly string[]) =>
  (await downgraded(lines(...all))).toString("latin1");

describe("8-bit content for a server without 8BITMIME", () => {
  it("D17 becomes quoted-printable, the header replaced in its place", async () => {
    assert.equal(
      await shown("Content-Transfer-Encoding: 8bit", "Subject: x", "", "caf\u00e9 = 1 "),
      lines("Content-Transfer-Encoding: quoted-printable", "Subject: x", "", "caf=E9 =3D 1=20"),
    );
  });

  it("D17 converts what has no label too, and adds one", async () => {
    assert.equal(
      await shown("Subject: x", "", "caf\u00e9"),
      lines("Subject: x", "Content-Transfer-Encoding: quoted-printable", "", "caf=E9"),
    );
  });

  it("D17 leaves 7-bit parts byte for byte, and corrects their label", async () => {
    const message = (first: string, second: string, last: string) =>
      lines(
        `Content-Type: multipart/mixed; boundary=b`,
        first,
        "",
        "--b",
        "",
        "seven =E9 ",
        "--b",
        second,
        "",
        "seven too ",
        "--b",
        "",
        last,
        "--b--",
      );
    const label = (name: string) => `Content-Transfer-Encoding: ${name}`;
    const converted = await shown(message(label("8bit"), label("binary"), "\u00e9").slice(0, -2));
    assert.equal(
      converted,
      message(label("7bit"), label("7bit"), "=E9").replace(
        "--b\r\n\r\n=E9",
        `--b\r\n${label("quoted-printable")}\r\n\r\n=E9`,
      ),
    );
  });

  it("D17 goes into attached messages, whose own label becomes 7bit", async () => {
    assert.equal(
      await shown(
        "Content-Type: message/rfc822",
        "Content-Transfer-Encoding: 8bit",
        "",
        "From x@y",
        "Subject: inner",
        "",
        "\u00e9",
      ),
      lines(
        "Content-Type: message/rfc822",
        "Content-Transfer-Encoding: 7bit",
        "",
        "From x@y",
        "Subject: inner",
        "Content-Transfer-Encoding: quoted-printable",
        "",
        "=E9",
      ),
    );
  });

  it("D17 encodes message/global as a whole", async () => {
    assert.equal(
      await shown(
        "Content-Type: message/global",
        "Content-Transfer-Encoding: 8bit",
        "",
        "Subject: \u00e9",
        "",
        "x",
      ),
      lines(
        "Content-Type: message/global",
        "Content-Transfer-Encoding: quoted-printable",
        "",
        "Subject: =E9",
        "",
        "x",
      ),
    );
  });

  it("D17 masks bytes where no reader looks, escapes them in what is quoted-printable already", async () => {
    assert.equal(
      await shown(
        "Content-Type: multipart/mixed; boundary=b",
        "",
        "\u00e9",
        "--b",
        "Content-Transfer-Encoding: quoted-printable",
        "",
        "=3D \u00e9 =",
        "--b",
        "Content-Transfer-Encoding: base64",
        "",
        "YQ\u00e9==",
        "--b--",
        "\u00e9",
      ),
      lines(
        "Content-Type: multipart/mixed; boundary=b",
        "",
        "?",
        "--b",
        "Content-Transfer-Encoding: quoted-printable",
        "",
        "=3D =E9 =",
        "--b",
        "Content-Transfer-Encoding: base64",
        "",
        "YQ?==",
        "--b--",
        "?",
      ),
    );
  });

  it("D17 treats a multipart whose boundary never comes as one text", async () => {
    assert.equal(
      await shown("Content-Type: multipart/mixed", "", "\u00e9"),
      lines(
        "Content-Type: multipart/mixed",
        "Content-Transfer-Encoding: quoted-printable",
        "",
        "=E9",
      ),
    );
  });

  it("D17 encodes what can't be labelled 7bit for its long lines", async () => {
    const part = (body: string) =>
      lines(
        "Content-Type: multipart/mixed; boundary=b",
        "",
        "--b",
        "",
        "\u00e9",
        "--b",
        "Content-Transfer-Encoding: binary",
        "",
        body,
        "--b--",
      );
    const kept = await shown(part("x".repeat(998)).slice(0, -2));
    assert.ok(kept.includes(`Content-Transfer-Encoding: 7bit\r\n\r\n${"x".repeat(998)}\r\n`));
    const encoded = await shown(part("x".repeat(999)).slice(0, -2));
    assert.ok(encoded.includes(`quoted-printable\r\n\r\n${"x".repeat(73)}=\r\n`));
  });

  it("D17 ends the headers where a part had none at all", async () => {
    assert.equal(
      await shown("Content-Type: multipart/mixed; boundary=b", "", "--b", "caf\u00e9", "--b--"),
      lines(
        "Content-Type: multipart/mixed; boundary=b",
        "",
        "--b",
        "Content-Transfer-Encoding: quoted-printable",
        "",
        "caf=E9",
        "--b--",
      ),
    );
  });

  it("D17 leaves headers as they are", async () => {
    const message = lines("Subject: \u00e9", "", "x");
    assert.equal(await shown("Subject: \u00e9", "", "x"), message);
  });

  it("D17 lets no line grow beyond 76, whatever it is made of", async () => {
    for (const text of ["\u00e9".repeat(500), "a ".repeat(400), `${"=".repeat(300)}\u00e9`]) {
      for (const encoding of ["8bit", "quoted-printable"]) {
        const out = await shown(`Content-Transfer-Encoding: ${encoding}`, "", text, "\u00e9");
        for (const line of out.split("\r\n")) assert.ok(line.length <= 76, `${encoding}: ${line}`);
      }
    }
  });

  it("D17 breaks no escape that was there before in two", async () => {
    for (const start of ["", "a", "ab"]) {
      const text = `${start}${"=3D".repeat(60)}\u00e9`;
      const out = await shown("Content-Transfer-Encoding: quoted-printable", "", text);
      const body = out.slice(out.indexOf("\r\n\r\n") + 4);
      assert.equal(body.replaceAll("=\r\n", ""), `${start}${"=3D".repeat(60)}=E9\r\n`);
      for (const line of body.split("\r\n")) assert.match(line, /^(?:=[\dA-F]{2}|[^=])*=?$/);
    }
  });

  it("D17 refuses what is nested deeper than mime_nesting_limit", async () => {
    const deep = Array.from(
      { length: 110 },
      (_, at) => `Content-Type: multipart/mixed; boundary=b${at}.\r\n\r\n--b${at}.\r\n`,
    ).join("");
    const stored = {
      contentId: "c",
      encoding: undefined,
      whole: Buffer.from(`${deep}\r\n\u00e9\r\n`),
      read: () => assert.fail("it is whole"),
    };
    assert.deepEqual(await content.prepare(stored, new Set(), () => {}), {
      kind: "refused",
      isPermanent: true,
      status: "5.6.0",
      reason: "MIME nesting exceeds safety limit",
    });
  });

  it("D17 says the same to another reader, for random MIME trees cut anywhere", async () => {
    const random = seededRandom(1717);
    const before: Buffer[] = [];
    const after: Buffer[] = [];
    for (let run = 0; run < 300; run++) {
      const message = messageText(randomTree(random, 3));
      const detail = `seed ${random.seed}, run ${run}: ${JSON.stringify(message.toString("latin1"))}`;
      const converted = await downgraded(message);
      assert.ok(converted.equals(await downgraded(message, random.between(1, 200))), detail);
      assert.ok(!/[^\u0000-\u007f]/.test(converted.toString("latin1")), detail);
      const longest = (text: Buffer) =>
        Math.max(
          ...text
            .toString("latin1")
            .split("\r\n")
            .map((line) => line.length),
        );
      assert.ok(longest(converted) <= Math.max(76, longest(message)), detail);
      before.push(message);
      after.push(converted);
    }
    const wanted = readTrees(before);
    const got = readTrees(after);
    assert.equal(got.length, before.length);
    got.forEach((tree, run) =>
      assert.deepEqual(
        tree,
        wanted[run],
        `${before[run]?.toString("latin1")}\n---\n${after[run]?.toString("latin1")}`,
      ),
    );
  });
});
