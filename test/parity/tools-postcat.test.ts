/**
 * postcat beside Postfix's own: the same messages, each with every combination of options.
 *
 * The queue files are written from the messages by our own records (queue-file.ts), and read by Postfix; a second part
 * goes the other way: files that Postfix's daemons wrote are compared with what we print of the same message, but for
 * the lines that postmq does not store.
 *
 * Source: postcat(1); spec admin-tools.md §3.
 */
import assert from "node:assert/strict";
import { chmod, mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { describe, it } from "node:test";

import { PrivatePostfix, run, SmtpClient, waitFor } from "@postmq/testing";
import { parseQueueId } from "@postmq/vocabulary";

import { readSpoolFile } from "../support/postfix-file.ts";
import { PostmqQueue } from "../support/postmq-queue.ts";
import { MailMaker } from "../support/queued-mail.ts";
import type { QueuedMail } from "../support/queued-mail.ts";
import { sideBySideTests } from "../support/side-by-side.ts";

const combinations = [
  ["-q"],
  ["-qv"],
  ["-qe"],
  ["-qh"],
  ["-qb"],
  ["-qeh"],
  ["-qeb"],
  ["-qbh"],
  ["-qo"],
  ["-qd"],
  ["-qodv"],
  ["-qoh"],
  ["-qdb"],
  ["-qr"],
  ["-qore"],
];

/** Everything that a record can say, and content of every shape. */
function oddMail(nowMs: number): readonly QueuedMail[] {
  const maker = new MailMaker(nowMs);
  const client = {
    name: "client.example.com",
    address: "192.0.2.9",
    port: 51_216,
    helo: "helo.example.com",
    protocol: "ESMTP",
    saslMethod: "PLAIN",
    saslUsername: "ann",
  };
  const long = "0123456789abcde ".repeat(400);
  return [
    maker.make({
      sender: "list@src.example.com",
      to: [
        { address: "a@example.com", notify: ["NEVER"] },
        { address: "b@example.com", notify: ["SUCCESS", "FAILURE", "DELAY"], isDone: true },
        { address: "c@example.com", original: "C@Example.com", orcpt: "rfc822;was@example.com" },
        { address: '"two words"@example.com', reason: "full" },
      ],
      envelope: {
        origin: "smtp",
        client,
        envid: "QQ314159+x",
        ret: "HDRS",
        encoding: "8bit",
        verpDelimiters: "+=",
      },
      content: `Subject: of ${"a header that is long ".repeat(120)}\n\tfolded\nTo: x\n\nbody\n${long}\n${"x".repeat(2048)}\n\nend\n`,
    }),
    maker.make({
      queue: "hold",
      sender: "jürgen@münchen.example",
      to: ["пётр@пример.example"],
      envelope: { origin: "smtp", client: { ...client, address: "2001:db8::1" }, smtputf8: true },
      content: "Subject: Grüße\n\nBody: no header\n\n",
    }),
    maker.make({
      sender: "",
      to: ["a@example.com"],
      envelope: { origin: "bounce" },
      content: "\n",
    }),
    maker.make({
      queue: "maildrop",
      to: [{ address: "a@example.com", notify: ["FAILURE"], orcpt: "rfc822;b@example.com" }],
      envelope: { fullName: "Ann B. Cee", encoding: "7bit" },
      content: "No header at all\nSubject: not one either\n",
    }),
    maker.make({ queue: "incoming", to: ["a@example.com"], content: "Subject: only headers\n" }),
    maker.make({
      queue: "active",
      to: ["a@example.com"],
      content: ` starts with a blank\n\n${long}`,
    }),
    maker.make({
      to: ["a@example.com"],
      content: `${"y".repeat(2048)}\n${long}${long}\nSubject: x\n`,
    }),
  ];
}

describe("postcat beside Postfix's", () => {
  const { table, redisUrl, fill } = sideBySideTests();

  it("prints every record of every message, with every combination of options", async () => {
    const messages = oddMail(Date.now());
    await using sides = await fill("odd mail", messages);
    const ids = messages.map(({ copy }) => copy.id);
    for (const options of combinations) {
      await sides.compare({
        words: ["postcat", ...options, ...ids],
        without: (ran) => ({ ...ran, err: "" }),
        mayDiffer: "-v: what Postfix logs",
      });
    }
    const [first = ""] = ids;
    const { out } = await sides.compare({ words: ["postcat", "-qo", first] });
    const offsets = [...out.matchAll(/^ *(\d+) /gm)].map((match) => match[1] ?? "");
    for (const offset of offsets.filter((_, i) => i > 0 && i % 7 === 0)) {
      await sides.compare({ words: ["postcat", "-qo", "-s", offset, first] });
    }
    await sides.compare({ words: ["postcat", "-qh", "-s", "97", first] });
    await sides.compare({ words: ["postcat", "-q", "-s", "99999999", first] });
  });

  it("says in the same words what it does not find or understand", async () => {
    const maker = new MailMaker(Date.now());
    const one = maker.make({ to: ["a@example.com"] });
    await using sides = await fill("errors", [one]);
    for (const words of [
      ["-q", "ABCDEF012345"],
      ["-q", "../x"],
      ["-q", ""],
      ["-q", one.copy.id, "ABCDEF012345", one.copy.id],
      ["-q", "-s", "x", one.copy.id],
      ["-q", "-s", "-1", one.copy.id],
      ["-x"],
      ["-n", "-q", one.copy.id],
      ["-s"],
    ]) {
      await sides.compare({ words: ["postcat", ...words] });
    }
  });

  it("prints of a message what Postfix's daemons wrote of it, but what is not stored", async () => {
    const dir = await mkdtemp("/var/tmp/postmq-postcat-");
    await chmod(dir, 0o755);
    await using stack = new AsyncDisposableStack();
    stack.defer(() => rm(dir, { recursive: true, force: true }));
    const root = join(dir, "postfix");
    const postfix = stack.use(
      await PrivatePostfix.start(root, 1, {
        enable_long_queue_ids: "yes",
        defer_transports: "smtp, relay",
        bounce_notice_recipient: "nobody@example.com",
      }),
    );
    const env = { MAIL_CONFIG: join(root, "etc"), PATH: "/usr/sbin:/usr/bin:/bin" };
    await handIn(postfix, env);
    await waitFor(async () => (await spoolFiles(root)).length >= 5);
    for (const path of await spoolFiles(root)) {
      const id = parseQueueId(path.slice(path.lastIndexOf("/") + 1)) ?? assert.fail(path);
      const mail = readSpoolFile(id, await readFile(path));
      await using ours = await PostmqQueue.fill(redisUrl(), [mail]);
      for (const options of ["-q", "-qe", "-qbh", "-qd"]) {
        const words = ["postcat", options, id];
        const theirs = await run("/usr/sbin/postcat", [options, id], { env });
        const printed = await ours.run(words);
        assert.equal(printed.err, "");
        const expected = withoutUnstored(theirs.stdout);
        table.add(
          "daemons' files",
          words.join(" "),
          {
            postfix: `${theirs.stdout.split("\n").length - 1} lines`,
            postmq: expected === withoutStart(printed.out) ? "the same" : "DIFFERS",
          },
          "what is not stored",
        );
        assert.equal(withoutStart(printed.out), expected);
      }
    }
  });
});

async function handIn(
  postfix: PrivatePostfix,
  env: Readonly<Record<string, string>>,
): Promise<void> {
  using client = await SmtpClient.open(postfix.port);
  const content = `Subject: x\r\n\r\n${"z".repeat(3000)}\r\n.dot\r\n`;
  for (const from of ["sender@src.example.com", ""]) {
    const reply = await client.deliver({ from, to: ["a@example.com", "b@example.org"], content });
    assert.equal(reply.code, 250, reply.text);
  }
  const sendmail = async (args: readonly string[]) => {
    const input = "From: x@src.example.com\nTo: b\nSubject: t\n\nbody\n";
    const ran = await run("/usr/sbin/sendmail", args, { env, input });
    assert.equal(ran.code, 0, ran.stderr);
  };
  await sendmail(["-f", "s@src.example.com", "-F", "A B", "-N", "success,delay", "c@example.com"]);
  await sendmail([
    "-f",
    "s@src.example.com",
    "-F",
    "A B",
    "-V",
    "e1",
    "-R",
    "full",
    "c@example.com",
  ]);
  await sendmail([
    "-f",
    "s@src.example.com",
    "-F",
    "",
    "-XV",
    "-B8BITMIME",
    "two words@example.com",
  ]);
}

async function spoolFiles(root: string): Promise<readonly string[]> {
  const directory = join(root, "spool", "deferred");
  const entries = await readdir(directory, { recursive: true, withFileTypes: true });
  return entries
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name));
}

/** rewrite_context of SMTP, the client's reverse name, our own address, an empty full name; and so content begins elsewhere. */
function withoutUnstored(text: string): string {
  const isSmtp = text.includes("log_client_name");
  const lines = isSmtp ? "rewrite_context|reverse_client_name|server_\\w+" : "none";
  return withoutStart(
    text
      .replaceAll(new RegExp(`^(?: *\\d+ )?named_attribute: (?:${lines})=.*\\n`, "gm"), "")
      .replaceAll(/^(?: *\d+ )?sender_fullname: \n/gm, ""),
  );
}

function withoutStart(text: string): string {
  return text.replace(/^((?: *\d+ )?message_size: +\d+) +\d+/m, "$1 start");
}
