/**
 * A site's own report texts: what a report says is what Postfix's `postconf -b` shows of the same file.
 *
 * Source: bounce(5); postconf(1) -b.
 */
import assert from "node:assert/strict";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, it } from "node:test";

import {
  FakeSmtpServer,
  hasPostfixTools,
  run,
  SmtpClient,
  startPostmq,
  testMail,
  waitFor,
} from "@postmq/testing";

const sender = "sender@src.example.com";

const templates = `# Our own.
failure_template = <<EOF
Charset: us-ascii
From: Post Office <postoffice>
Subject: Not delivered
Postmaster-Subject: Look

  From $myhostname in \${mydomain}, for $$5: $(maximal_queue_lifetime) is
$maximal_queue_lifetime_seconds s, $maximal_queue_lifetime_minutes min,

$maximal_queue_lifetime_hours h, $maximal_queue_lifetime_days d, $maximal_queue_lifetime_weeks wk
relayed: \${double_bounce_sender?yes}\${double_bounce_sender:no} $double_bounce_sender
EOF
delay_template = << END.1
Our words: no header, and no line between
at least $delay_warning_time_seconds s, $delay_warning_time_minutes min
# no comment
END.1

success_template = <<EOF
Postmaster-Subject: not for a success, so Postfix takes its own template and we ours

words
EOF
verify_template = one line
`;

const shared = {
  myhostname: "mail.example.com",
  mydomain: "example.com",
  maximal_queue_lifetime: "14d",
  delay_warning_time: "2s",
};

/** The texts by template, as Postfix expands them. */
async function expandedByPostfix(directory: string, file: string) {
  const settings = { compatibility_level: "3.6", smtputf8_enable: "no", ...shared };
  const lines = Object.entries(settings).map(([name, value]) => `${name} = ${value}\n`);
  await mkdir(join(directory, "postfix"));
  await writeFile(join(directory, "postfix", "main.cf"), lines.join(""));
  const args = ["-c", join(directory, "postfix"), "-b", file];
  const { code, stdout, stderr } = await run("postconf", args);
  const blocks = stdout.matchAll(/^expanded_(\w+)_text = <<EOF\n([^]*?)\nEOF$/gm);
  const texts = new Map([...blocks].map(([, name = "", text = ""]) => [name, text]));
  return { code, texts, stderr };
}

/** What stands before the recipients in the part for people. */
function wordsOf(report: string): string {
  const part = /Content-Description: Notification\r\n[^]*?\r\n\r\n([^]*?)\r\n\r\n</.exec(report);
  return (part?.[1] ?? "").replaceAll("\r\n", "\n");
}

describe("bounce_template_file", () => {
  it("makes reports of failures and delays say what postconf -b shows", async () => {
    assert.ok(hasPostfixTools(), "the system's package postfix is needed");
    const directory = await mkdtemp(join(tmpdir(), "postmq-templates-"));
    await using stack = new AsyncDisposableStack();
    stack.defer(() => rm(directory, { recursive: true, force: true }));
    const file = join(directory, "bounce.cf");
    await writeFile(file, templates);
    const { code, texts, stderr } = await expandedByPostfix(directory, file);
    assert.equal(code, 0, stderr);

    await using sink = await FakeSmtpServer.start({
      keywords: ["8BITMIME"],
      decide: ({ stage, recipient }) => {
        if (stage !== "rcpt") return undefined;
        if (recipient.startsWith("nobody")) return { reply: "550 5.1.1 unknown" };
        return recipient.startsWith("busy") ? { reply: "450 4.2.1 busy" } : undefined;
      },
    });
    await using system = await startPostmq({
      parameters: {
        ...shared,
        relayhost: sink.relayhost,
        minimal_backoff_time: "1s",
        maximal_backoff_time: "1s",
        bounce_template_file: file,
      },
    });
    const reportAbout = async (to: string) => {
      using client = await SmtpClient.open(system.smtpPort);
      await client.command(`MAIL FROM:<${sender}>`);
      await client.command(`RCPT TO:<${to}> NOTIFY=SUCCESS,FAILURE,DELAY`);
      await client.command("DATA");
      client.send(`${testMail({ from: sender, to: [to] }).content.toString()}.\r\n`);
      assert.equal((await client.reply()).code, 250);
      const found = await waitFor(
        () =>
          sink.messages.find(({ content }) => content.includes(`Final-Recipient: rfc822; ${to}`)),
        { describe: () => `a report about ${to}\n${system.lastLines()}` },
      );
      return found.content.toString();
    };

    const failure = await reportAbout("nobody@dest.example.com");
    assert.match(
      texts.get("failure") ?? "",
      /^ {2}From mail\.example\.com in example\.com, for \$5/,
    );
    assert.equal(wordsOf(failure), texts.get("failure"));
    assert.match(failure, /^From: Post Office <postoffice@mail\.example\.com>\r$/m);
    assert.match(failure, /^Subject: Not delivered\r$/m);
    const delay = await reportAbout("busy@dest.example.com");
    assert.match(texts.get("delay") ?? "", /at least 2 s, 0 min/);
    assert.equal(wordsOf(delay), texts.get("delay"));

    // Both leave out a template with a header that does not belong to it, and say so.
    assert.match(stderr, /inapplicable "Postmaster-Subject" header label in success template/);
    assert.match(system.logs, /inapplicable "Postmaster-Subject" header label in success template/);
    const success = await reportAbout("joe@dest.example.com");
    assert.match(texts.get("success") ?? "", /successfully delivered/);
    assert.match(wordsOf(success), /Your message was delivered/);
  });

  it("stops the daemon at an unknown name, where Postfix dies of it too", async () => {
    const directory = await mkdtemp(join(tmpdir(), "postmq-templates-"));
    await using stack = new AsyncDisposableStack();
    stack.defer(() => rm(directory, { recursive: true, force: true }));
    const file = join(directory, "bounce.cf");
    await writeFile(file, "failure_template = <<EOF\n\n$no_such_name\nEOF\n");
    const { code, stderr } = await expandedByPostfix(directory, file);
    assert.notEqual(code, 0);
    assert.match(stderr, /undefined \$name in failure template: \$no_such_name/);
    await assert.rejects(
      startPostmq({ services: ["bounce"], parameters: { bounce_template_file: file } }),
      /bounce\.cf, line 3: \$no_such_name/,
    );
  });
});
