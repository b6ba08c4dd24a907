/**
 * Reports beside Postfix's own: the same mail fails, waits or arrives through both, and what the two tell of it is the
 * same, line by line, but for ids, times and the words of introduction.
 *
 * Source: spec delivery.md §9; Postfix bounce(8).
 */
import assert from "node:assert/strict";
import { chmod, mkdtemp, rm } from "node:fs/promises";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";

import {
  FakeSmtpServer,
  hasPostfixTools,
  postfixObstacle,
  PrivatePostfix,
  SmtpClient,
  startPostmq,
  waitFor,
} from "@postmq/testing";

const sender = "sender@src.example.com";
const postmaster = "postmaster@mail.example.com";

/** For both, in both. */
const settings = {
  myhostname: "mail.example.com",
  mail_name: "Postfix",
  minimal_backoff_time: "1s",
  maximal_backoff_time: "2s",
  queue_run_delay: "1s",
  delay_warning_time: "2s",
  notify_classes: "bounce, 2bounce, delay",
  enable_threaded_bounces: "yes",
  smtpd_authorized_verp_clients: "127.0.0.0/8",
};

type Mail = { readonly mail: string; readonly recipients: readonly string[] };

/** A mail system, and the server that all its mail goes to. */
type Side = { readonly name: string; readonly port: number; readonly sink: FakeSmtpServer };

function startSink(): Promise<FakeSmtpServer> {
  return FakeSmtpServer.start({
    keywords: ["PIPELINING", "8BITMIME", "ENHANCEDSTATUSCODES"],
    decide: ({ stage, recipient }) => {
      if (stage !== "rcpt") return undefined;
      if (recipient.startsWith("nobody")) {
        return { reply: "550-5.1.1 <nobody> is unknown here,\r\n550 5.1.1 and always was" };
      }
      return recipient.startsWith("busy") ? { reply: "450 4.2.1 mailbox is busy" } : undefined;
    },
  });
}

let mails = 0;

/**
 * Sends the mail through one side.
 *
 * @param readers the address of each report that is to come
 * @returns the reports about it, those to one address in an order of their texts: which came first is nobody's choice
 */
async function reportsOf(
  side: Side,
  { mail, recipients }: Mail,
  readers: readonly string[],
): Promise<readonly string[]> {
  mails += 1;
  const messageId = `<${mails}@src.example.com>`;
  using client = await SmtpClient.open(side.port);
  const commands = [mail, ...recipients, "DATA"];
  for (const command of commands) {
    const reply = await client.command(command);
    assert(reply.code < 400, `${command}: ${reply.text}`);
  }
  client.send(
    `From: <${sender}>\r\nDate: Sun, 22 Nov 2026 08:00:00 +0000\r\nMessage-ID: ${messageId}\r\n` +
      "To: somebody:;\r\nSubject: x\r\n\r\nOne line.\r\n.\r\n",
  );
  assert.equal((await client.reply()).code, 250);
  const reports = await Promise.all(
    [...new Set(readers)].map(async (reader) => {
      const count = readers.filter((other) => other === reader).length;
      const received = () =>
        side.sink.messages.filter(
          (message) =>
            message.recipients.includes(reader) &&
            message.content.includes(`In-Reply-To: ${messageId}\r\n`),
        );
      await waitFor(() => received().length >= count, {
        describe: `${count} of the reports to ${reader} from ${side.name}`,
      });
      return received()
        .map(
          ({ sender: from, content }) =>
            `MAIL FROM:<${from}>\n${comparable(content.toString("latin1"))}`,
        )
        .toSorted();
    }),
  );
  return reports.flat();
}

/** Recipients stand in the order in which they failed, which is nobody's choice. */
function inOneOrder(report: string): string {
  const paragraphs = report.split("\n\n");
  const isOfRecipient = (paragraph: string) => /^(?:<|Final-Recipient:)/.test(paragraph);
  const groups = paragraphs.map((paragraph, index) => {
    const first = paragraphs.slice(0, index).findLastIndex((other) => !isOfRecipient(other));
    return { paragraph, group: isOfRecipient(paragraph) ? first + 1 : index };
  });
  return groups
    .toSorted((one, other) => one.group - other.group || (one.paragraph < other.paragraph ? -1 : 1))
    .map(({ paragraph }) => paragraph)
    .join("\n\n");
}

/** Without what must differ: ids, times, ports, the trace headers, the subject and the words of introduction. */
function comparable(report: string): string {
  const parts = /^([^]*?\n\n)([^]*?\nContent-Type: text\/plain[^]*?\n\n)[^]*?(\n<[^]*)$/.exec(
    report.replaceAll("\r\n", "\n"),
  );
  assert(parts !== null, report);
  const [, top = "", text = "", rest = ""] = parts;
  return inOneOrder(`${top}${text}${rest}`.replaceAll(/\n{2,}/g, "\n\n"))
    .replaceAll(/^Received: .*\n(?:[ \t].*\n)*/gm, "")
    .replaceAll(/^Subject: (?!x$).*$/gm, "Subject: …")
    .replaceAll(/^(Date|Arrival-Date|Will-Retry-Until): .*$/gm, "$1: …")
    .replaceAll(/(?<=^Message-Id: <)\S+(?=@mail)/gm, "QID")
    .replaceAll(/(?<=-Queue-ID: |boundary="|^--)[A-Za-z0-9]{9,}/gm, "QID")
    .replaceAll(/(?<=QID\.)\d+/g, "EPOCH")
    .replaceAll(/\d+(?=@src\.example\.com>)/g, "N")
    .replaceAll(/(?<=\[127\.0\.0\.1\]:)\d+/g, "PORT");
}

describe("reports beside Postfix's", () => {
  const stack = new AsyncDisposableStack();
  let sides: readonly Side[] = [];

  before(async () => {
    assert.ok(hasPostfixTools(), "the system's package postfix is needed");
    assert.equal(postfixObstacle(), undefined);
    const directory = await mkdtemp("/var/tmp/postmq-reports-");
    stack.defer(() => rm(directory, { recursive: true, force: true }));
    await chmod(directory, 0o755);
    const theirSink = stack.use(await startSink());
    const theirs = { ...settings, smtputf8_enable: "no" };
    const postfix = stack.use(
      await PrivatePostfix.start(join(directory, "postfix"), theirSink.port, theirs),
    );
    const ourSink = stack.use(await startSink());
    const system = stack.use(
      await startPostmq({ parameters: { ...settings, relayhost: ourSink.relayhost } }),
    );
    sides = [
      { name: "postmq", port: system.smtpPort, sink: ourSink },
      { name: "Postfix", port: postfix.port, sink: theirSink },
    ];
  });

  after(() => stack[Symbol.asyncDispose]());

  async function assertSame(mail: Mail, readers: readonly string[]): Promise<void> {
    const [ours, theirs] = await Promise.all(sides.map((side) => reportsOf(side, mail, readers)));
    assert.deepEqual(ours, theirs);
    assert.equal(ours?.length, readers.length);
  }

  it("D30 D33 are the same after a failure, to the sender and in the postmaster's copy", async () => {
    await assertSame(
      {
        mail: `MAIL FROM:<${sender}> ENVID=e+2Bnv`,
        recipients: [
          "RCPT TO:<nobody@dest.example.com> ORCPT=rfc822;First@near.example.com",
          "RCPT TO:<nobody.never@dest.example.com> NOTIFY=NEVER",
          "RCPT TO:<nobody.failure@dest.example.com> NOTIFY=FAILURE,SUCCESS",
        ],
      },
      [sender, postmaster],
    );
  });

  it("D32 are the same with RET=HDRS", async () => {
    const mail = `MAIL FROM:<${sender}> RET=HDRS`;
    await assertSame({ mail, recipients: ["RCPT TO:<nobody@dest.example.com>"] }, [sender]);
  });

  it("S13 are the same about a delay, to the sender and in the postmaster's copy", async () => {
    const mail = `MAIL FROM:<${sender}> RET=FULL`;
    const recipients = [
      "RCPT TO:<busy@dest.example.com> NOTIFY=DELAY",
      "RCPT TO:<busy.failure@dest.example.com> NOTIFY=FAILURE",
    ];
    await assertSame({ mail, recipients }, [sender, postmaster]);
  });

  it("D31 are the same about a success", async () => {
    const mail = `MAIL FROM:<${sender}> RET=FULL`;
    const recipients = [
      "RCPT TO:<joe@dest.example.com> NOTIFY=SUCCESS",
      "RCPT TO:<al@dest.example.com> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;a+2Bl@x.example.com",
      "RCPT TO:<quiet@dest.example.com>",
    ];
    await assertSame({ mail, recipients }, [sender]);
  });

  it("D33 are the same with VERP, and so are the senders that the mail goes out with", async () => {
    const named = (local: string) => `sender+${local}=dest.example.com@src.example.com`;
    const recipients = [
      "RCPT TO:<nobody.one@dest.example.com> ORCPT=rfc822;First@near.example.com",
      "RCPT TO:<nobody.two@dest.example.com>",
      "RCPT TO:<list+member@dest.example.com>",
      'RCPT TO:<"list member"@dest.example.com>',
    ];
    // A copy for each that failed, as with Postfix.
    const readers = [named("nobody.one"), named("nobody.two"), postmaster, postmaster];
    await assertSame({ mail: `MAIL FROM:<${sender}> XVERP`, recipients }, readers);
    await assertSame({ mail: `MAIL FROM:<${sender}> XVERP==-`, recipients: ["RCPT TO:<nobody>"] }, [
      "sender=nobody@src.example.com",
    ]);
    const [ours, theirs] = await Promise.all(
      sides.map(async ({ sink, name }) => {
        const delivered = () =>
          sink.messages.filter((message) => message.recipients[0]?.includes("list") === true);
        await waitFor(() => delivered().length === 2, { describe: `mail of ${name}` });
        return delivered()
          .map((message) => [message.sender, ...message.recipients])
          .toSorted();
      }),
    );
    assert.deepEqual(ours, theirs);
    assert.deepEqual(ours, [
      ['"sender+list member=dest.example.com"@src.example.com', '"list member"@dest.example.com'],
      [named("list+member"), "list+member@dest.example.com"],
    ]);
  });

  it("D28 are the same about mail from the null sender, to the postmaster alone", async () => {
    const recipients = ["RCPT TO:<nobody@dest.example.com>"];
    await assertSame({ mail: "MAIL FROM:<> RET=HDRS", recipients }, [postmaster]);
  });
});
