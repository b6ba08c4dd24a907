import assert from "node:assert/strict";
import { chmodSync, mkdtempSync, rmSync, unlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";

import { loadParameters } from "@postmq/config";
import { openTables } from "@postmq/tables";
import { waitFor } from "@postmq/testing";
import { isPostmqError } from "@postmq/vocabulary";

import { BodyStuffer } from "../session/message-body.ts";
import { DkimKeys } from "./dkim-keys.ts";
import { ed25519Key, rsaKey, verified, writeKey } from "./dkim.test-support.ts";
import { openOutgoingContent } from "./open-outgoing-content.ts";
import { OutgoingContent } from "./outgoing-content.ts";

const lines = (...all: readonly string[]) => `${all.join("\r\n")}\r\n`;
const rsa = rsaKey();
const otherRsa = rsaKey();
const ed25519 = ed25519Key();
const records = {
  "r._domainkey.example.com": rsa.record,
  "e._domainkey.example.com": ed25519.record,
  "r._domainkey.sub.example.com": otherRsa.record,
};
const plain = lines(
  "From: Alice <a@example.com>",
  "To: b@example.net",
  "Subject: x",
  "",
  "hello ",
  ".",
  "",
);

describe("DKIM", () => {
  let directory = "";
  before(() => {
    directory = mkdtempSync(join(tmpdir(), "postmq-dkim-"));
    writeKey(join(directory, "rsa.pem"), rsa);
    writeKey(join(directory, "other.pem"), otherRsa);
    writeKey(join(directory, "ed.pem"), ed25519);
  });
  after(() => rmSync(directory, { recursive: true }));

  const key = (selector: string, file: string) =>
    `selector=${selector} key=${join(directory, file)}`;

  function open(
    keys: string,
    env: Readonly<Record<string, string>> = {},
    onWarning = (text: string): void => assert.fail(text),
  ): Promise<OutgoingContent> {
    const parameters = loadParameters({
      env: { POSTMQ_MYHOSTNAME: "mx.example.com", POSTMQ_DKIM_KEYS: keys, ...env },
      service: "smtp-delivery",
    });
    return openOutgoingContent(parameters, onWarning);
  }

  /** What is sent of a message that is whole, or comes in chunks. */
  async function sent(
    content: OutgoingContent,
    message: string | Buffer,
    options: {
      readonly chunkBytes?: number;
      readonly offers?: ReadonlySet<string>;
      readonly id?: string;
    } = {},
  ): Promise<Buffer> {
    const { chunkBytes, offers = new Set(["8BITMIME"]), id = "c" } = options;
    const bytes = Buffer.from(message);
    const read = async function* () {
      for (let at = 0; at < bytes.length; at += chunkBytes ?? bytes.length)
        yield bytes.subarray(at, at + (chunkBytes ?? bytes.length));
    };
    const whole = chunkBytes === undefined ? bytes : undefined;
    const mail = await content.prepare(
      { contentId: id, encoding: "8bit", whole, read },
      offers,
      () => {},
    );
    if (mail === undefined) return bytes;
    assert.equal(mail.kind, "changed");
    return Buffer.concat(await Array.fromAsync(mail.read()));
  }

  const oneKey = () => `inline:{ {example.com = ${key("r", "rsa.pem")}} }`;

  it("signs for the domain of From, once for each of its keys", async () => {
    const content = await open(
      `inline:{ {example.com = ${key("r", "rsa.pem")} ${key("e", "ed.pem")}} }`,
    );
    const signed = await sent(content, plain);
    assert.deepEqual(await verified(signed, records), ["r@example.com pass", "e@example.com pass"]);
    assert.ok(signed.toString().endsWith(plain));
    assert.match(
      signed.toString(),
      /^DKIM-Signature: v=1; a=rsa-sha256; c=relaxed\/relaxed; d=example\.com;/,
    );
  });

  it("uses the keys of the nearest parent domain", async () => {
    const content = await open(
      `inline:{ {example.com = ${key("r", "rsa.pem")}} {sub.example.com = ${key("r", "other.pem")}} }`,
    );
    const from = (address: string) => sent(content, plain.replace("a@example.com", address));
    assert.deepEqual(await verified(await from("a@deep.SUB.example.com"), records), [
      "r@sub.example.com pass",
    ]);
    assert.deepEqual(await verified(await from("a@other.example.com"), records), [
      "r@example.com pass",
    ]);
  });

  it("leaves mail alone that has no From, or one without keys", async () => {
    const content = await open(oneKey());
    for (const message of [
      plain.replace("a@example.com", "a@example.net"),
      plain.replace("From:", "Form:"),
      "",
    ]) {
      assert.equal((await sent(content, message)).toString(), message);
      assert.equal((await sent(content, message, { chunkBytes: 9 })).toString(), message);
    }
  });

  it("covers content as it goes over the wire: converted, checked, rewritten, its long lines broken", async () => {
    const content = await open(oneKey(), {
      POSTMQ_SMTP_HEADER_CHECKS: "regexp:{ {/^Subject:/ REPLACE Subject: changed} }",
      POSTMQ_SMTP_GENERIC_MAPS: "inline:{ a@local.example = a@example.com }",
    });
    const message = lines("From: a@local.example", "Subject: y", "", "\u00e9", "x".repeat(3_000));
    for (const chunkBytes of [undefined, 100, 70_000]) {
      for (const offers of [new Set<string>(), new Set(["8BITMIME"])]) {
        const signed = await sent(content, message, {
          offers,
          ...(chunkBytes === undefined ? {} : { chunkBytes }),
        });
        const wire = new BodyStuffer(998, { stuffsDots: false });
        const onWire = Buffer.concat([wire.write(signed), wire.end()]);
        assert.deepEqual(onWire, signed);
        assert.deepEqual(await verified(onWire, records), ["r@example.com pass"]);
        assert.match(signed.toString(), /\r\nSubject: changed\r\n/);
      }
    }
  });

  it("signs content that streams without holding it, with each canonicalisation", async () => {
    const long = plain + lines("z".repeat(90), "").repeat(2_000);
    for (const canonicalization of [
      "relaxed/relaxed",
      "relaxed/simple",
      "simple/relaxed",
      "simple/simple",
    ]) {
      const content = await open(oneKey(), { POSTMQ_DKIM_CANONICALIZATION: canonicalization });
      const signed = await sent(content, long, { chunkBytes: 8_192 });
      assert.deepEqual(await verified(signed, records), ["r@example.com pass"], canonicalization);
    }
  });

  it("names From once more than it is there, so that nobody can add one", async () => {
    const named = async (env: Readonly<Record<string, string>>) => {
      const signed = (await sent(await open(oneKey(), env), plain)).toString();
      const names = / h=([^;]*);/.exec(signed)?.[1] ?? "";
      return names.split(":").map((name) => name.trim());
    };
    assert.deepEqual(await named({}), ["Subject", "To", "From", "From"]);
    assert.deepEqual(await named({ POSTMQ_DKIM_OVERSIGNED_HEADERS: "" }), [
      "Subject",
      "To",
      "From",
    ]);
  });

  it("lets nobody add a header that is oversigned and not there", async () => {
    const content = await open(oneKey(), {
      POSTMQ_DKIM_OVERSIGNED_HEADERS: "From, Reply-To, X-New",
    });
    const signed = await sent(content, plain);
    assert.deepEqual(await verified(signed, records), ["r@example.com pass"]);
    const added = Buffer.from(`X-New: y\r\n${signed.toString()}`);
    assert.deepEqual(await verified(added, records), ["r@example.com fail"]);
  });

  it("makes a signature once for a content and variant, also for requests at the same time", async () => {
    const content = await open(oneKey());
    const signatureOf = (signed: Buffer) => / b=([^]*?)\r\n\S/.exec(signed.toString())?.[1];
    const long = plain + lines("z".repeat(90)).repeat(1_000);
    let reads = 0;
    const bytes = Buffer.from(long);
    const read = async function* () {
      reads += 1;
      yield bytes;
    };
    const stored = { contentId: "once", encoding: "7bit", whole: undefined, read } as const;
    const prepare = () => content.prepare(stored, new Set(), () => {});
    await Promise.all([prepare(), prepare(), prepare()]);
    await prepare();
    assert.equal(reads, 1);
    const [one, other] = [
      await sent(content, plain, { id: "1" }),
      await sent(content, plain, { id: "2" }),
    ];
    assert.equal(signatureOf(one), signatureOf(other));
    assert.notEqual(signatureOf(await sent(content, `${plain}more\r\n`)), signatureOf(one));
  });

  it("throws on what reading throws, and tries again the next time", async () => {
    const content = await open(oneKey());
    let isBroken = true;
    const read = async function* () {
      yield Buffer.from(plain);
      if (isBroken) throw new Error("store is away");
    };
    const stored = { contentId: "b", encoding: "7bit", whole: undefined, read } as const;
    const prepare = async () => content.prepare(stored, new Set(), () => {});
    await assert.rejects(prepare(), /store is away/);
    isBroken = false;
    assert.equal((await prepare())?.kind, "changed");
  });

  it("signs anew once a key or a table has changed, content that streams too", async () => {
    let nowMs = 0;
    let generation = 0;
    let reads = 0;
    const path = writeKey(join(directory, "rotated.pem"), rsa);
    const tables = await openTables([`inline:{ {example.com = selector=r key=${path}} }`], {
      parameterName: "dkim_keys",
    });
    const content = new OutgoingContent({
      converts: true,
      limits: { nestingLimit: 100, boundaryBytes: 2048, headerBytes: 102_400 },
      lineLimit: 998,
      changes: {},
      signing: {
        keys: new DkimKeys(tables, { onWarning: assert.fail, nowMs: () => nowMs }),
        rules: {
          canonicalization: "relaxed/relaxed",
          signedHeaders: ["From"],
          oversignedHeaders: [],
        },
        generation: () => generation,
      },
    });
    const read = async function* () {
      reads += 1;
      yield Buffer.from(plain);
    };
    const stored = { contentId: "s", encoding: "7bit", whole: undefined, read } as const;
    const prepare = () => content.prepare(stored, new Set(), () => {});
    await prepare();
    await prepare();
    assert.equal(reads, 1);
    // A table of checks or generic maps has changed.
    generation += 1;
    await prepare();
    assert.equal(reads, 2);
    await sent(content, plain, { chunkBytes: 50 });
    writeKey(path, otherRsa);
    nowMs += 1_000;
    const signed = await sent(content, plain, { chunkBytes: 50 });
    const changed = { "r._domainkey.example.com": otherRsa.record };
    assert.deepEqual(await verified(signed, changed), ["r@example.com pass"]);
  });

  describe("its keys", () => {
    const wrong: Readonly<Record<string, readonly [string, RegExp]>> = {
      "a file that is missing": [
        "selector=s key=/nowhere/key.pem",
        /key file \/nowhere\/key\.pem: no such file$/,
      ],
      "no selector": ["key=/x", /is not selector=name key=\/file/],
      "a file without a key": [
        "selector=s key=/etc/hostname",
        /key file \/etc\/hostname: not a private key/,
      ],
    };

    it("stop the start when they can't be used, and are named", async () => {
      for (const [what, [value, reason]] of Object.entries(wrong)) {
        await assert.rejects(open(`inline:{ {example.com = ${value}} }`), (error) => {
          assert.ok(isPostmqError(error, "PMQ_TABLE_UNREADABLE"), what);
          assert.match(error.message, reason);
          return error.message.startsWith("parameter dkim_keys: ");
        });
      }
    });

    it("are refused when RSA has less than 1024 bits", async () => {
      writeKey(join(directory, "short.pem"), rsaKey(512));
      await assert.rejects(
        open(`inline:{ {example.com = ${key("s", "short.pem")}} }`),
        /RSA key of 512 bits/,
      );
    });

    it("security 14: show nothing of themselves in errors", async () => {
      writeFileSync(join(directory, "torn.pem"), rsa.pem.slice(0, 400));
      await assert.rejects(open(`inline:{ {example.com = ${key("s", "torn.pem")}} }`), (error) => {
        assert.ok(isPostmqError(error));
        const told = `${error.message} ${JSON.stringify(error.facts)} ${String(error.cause)}`;
        return !told.includes(rsa.pem.slice(60, 80));
      });
    });

    it("are warned about when everybody can read them", async () => {
      const warnings: string[] = [];
      chmodSync(writeKey(join(directory, "open.pem"), rsa), 0o644);
      await open(`inline:{ {example.com = ${key("s", "open.pem")}} }`, {}, (text) =>
        warnings.push(text),
      );
      assert.match(warnings.join(), /open\.pem can be read by everybody/);
    });

    it("are read again when they change; one that is gone keeps its last content", async () => {
      const warnings: string[] = [];
      let nowMs = 0;
      const path = writeKey(join(directory, "changing.pem"), rsa);
      const tables = await openTables([`inline:{ {example.com = selector=s key=${path}} }`], {
        parameterName: "dkim_keys",
      });
      const keys = new DkimKeys(tables, {
        onWarning: (text) => warnings.push(text),
        nowMs: () => nowMs,
      });
      const pem = () => keys.identityFor("example.com")?.keys[0]?.pem.toString();
      const generation = keys.generation();
      writeKey(path, ed25519);
      assert.equal(pem(), rsa.pem);
      nowMs += 1_000;
      assert.equal(pem(), ed25519.pem);
      assert.ok(keys.generation() > generation);
      unlinkSync(path);
      nowMs += 1_000;
      assert.equal(pem(), ed25519.pem);
      nowMs += 1_000;
      pem();
      assert.deepEqual(warnings, [
        `parameter dkim_keys: key file ${path}: no such file; its last content still counts`,
      ]);
    });

    it("defer the mail when an entry made since the start can't be used", async () => {
      const path = join(directory, "table");
      writeFileSync(path, `example.com ${key("r", "rsa.pem")}\n`);
      const content = await open(`texthash:${path}`);
      writeFileSync(path, "example.com selector=s key=/nowhere/key.pem\n");
      const stored = {
        contentId: "c",
        encoding: "7bit",
        whole: Buffer.from(plain),
        read: () => assert.fail(),
      } as const;
      const log: string[] = [];
      const refused = await waitFor(
        async () => {
          const mail = await content.prepare(stored, new Set(), (_, text) => log.push(text));
          return mail?.kind === "refused" && mail;
        },
        { describe: "the table to be read again" },
      );
      assert.equal(refused.isPermanent, false);
      assert.equal(refused.status, "4.3.5");
      assert.match(log.join(), /key file \/nowhere\/key\.pem: no such file/);
    });
  });
});
