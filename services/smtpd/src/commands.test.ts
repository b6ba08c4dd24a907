import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { firstGood, SmtpClient } from "@postmq/testing";

import { MemoryIntake } from "./memory-intake.test-support.ts";
import { connectTo, openData, say } from "./say.test-support.ts";
import { startListener } from "./start-listener.test-support.ts";

describe("SMTP commands (spec smtpd.md §1)", () => {
  it("greets at once, with smtpd_banner", async () => {
    await using server = await startListener({ intake: new MemoryIntake() });
    const greetedAfterMs = async () => {
      const startMs = performance.now();
      using client = await SmtpClient.connect(server.port);
      assert.equal((await client.reply()).text, "220 mail.example.com ESMTP postmq");
      return performance.now() - startMs;
    };
    const leastMs = await firstGood(10, greetedAfterMs, (ms) => ms < 90);
    assert.ok(leastMs < 90, "smtp-server's greeting delay of 100 ms is back");
  });

  it("announces exactly what it does", async () => {
    await using server = await startListener({ intake: new MemoryIntake() });
    using client = await connectTo(server.port);
    assert.deepEqual(await client.command("EHLO client.example.net"), {
      code: 250,
      lines: [
        "mail.example.com",
        "PIPELINING",
        "SIZE 10240000",
        "VRFY",
        "ENHANCEDSTATUSCODES",
        "8BITMIME",
        "DSN",
      ],
      text: [
        "250-mail.example.com",
        "250-PIPELINING",
        "250-SIZE 10240000",
        "250-VRFY",
        "250-ENHANCEDSTATUSCODES",
        "250-8BITMIME",
        "250 DSN",
      ].join("\n"),
    });
    await say(client, [["HELO client.example.net", "250 mail.example.com"]]);
  });

  it("queues a message and says under which id", async () => {
    const intake = new MemoryIntake();
    await using server = await startListener({ intake });
    using client = await SmtpClient.open(server.port);
    await openData(client);
    const reply = await client.command("Subject: hello\r\n\r\nBody.\r\n.");
    const [message] = intake.messages;
    assert.equal(reply.text, `250 2.0.0 Ok: queued as ${message?.id}`);
    assert.equal(message?.queue, "incoming");
    assert.match(message?.text ?? "", /\r\nSubject: hello\r\n\r\nBody\.\r\n$/);
    assert.deepEqual(message?.envelope, {
      sender: "a@example.com",
      origin: "smtp",
      client: {
        name: "localhost",
        address: "127.0.0.1",
        port: message?.envelope.client?.port,
        protocol: "ESMTP",
        helo: "client.example.com",
      },
    });
    await say(client, [["QUIT", "221 2.0.0 Bye"]]);
  });

  it("answers what comes out of order with 503, and a DATA without valid recipients with 554", async () => {
    await using server = await startListener({ intake: new MemoryIntake() });
    using client = await SmtpClient.open(server.port);
    await say(client, [
      ["RCPT TO:<b@example.net>", "503 5.5.1 Error: need MAIL command"],
      ["DATA", "503 5.5.1 Error: need RCPT command"],
      ["MAIL FROM:<a@example.com>", "250 2.1.0 Ok"],
      ["MAIL FROM:<a@example.com>", "503 5.5.1 Error: nested MAIL command"],
      ["DATA", "554 5.5.1 Error: no valid recipients"],
    ]);
  });

  it("wants HELO before MAIL only if smtpd_helo_required", async () => {
    await using easy = await startListener({ intake: new MemoryIntake() });
    using first = await connectTo(easy.port);
    await say(first, [["MAIL FROM:<a@example.com>", "250 2.1.0 Ok"]]);
    await using strict = await startListener({
      intake: new MemoryIntake(),
      parameters: { smtpd_helo_required: "yes" },
    });
    using second = await connectTo(strict.port);
    await say(second, [
      ["MAIL FROM:<a@example.com>", "503 5.5.1 Error: send HELO/EHLO first"],
      ["HELO client", "250 mail.example.com"],
      ["MAIL FROM:<a@example.com>", "250 2.1.0 Ok"],
    ]);
  });

  it("refuses bad syntax with the code that names it", async () => {
    await using server = await startListener({
      intake: new MemoryIntake(),
      parameters: { smtpd_hard_error_limit: "1000", smtpd_soft_error_limit: "1000" },
    });
    using client = await SmtpClient.open(server.port);
    await say(client, [
      ["HELO", "501 Syntax: HELO hostname"],
      ["EHLO", "501 Syntax: EHLO hostname"],
      [`EHLO ${"x".repeat(256)}`, "501 Syntax: EHLO hostname"],
      ["MAIL", "501 5.5.4 Syntax: MAIL FROM:<address>"],
      ["MAIL FROM:", "501 5.5.4 Syntax: MAIL FROM:<address>"],
      ["MAIL TO:<a@example.com>", "501 5.5.4 Syntax: MAIL FROM:<address>"],
      ["MAIL FROM:<a b@example.com>", "501 5.1.7 Bad sender address syntax"],
      ["MAIL FROM:<a@@example.com>", "501 5.1.7 Bad sender address syntax"],
      ["MAIL FROM:<a@example.com> SIZE=x", "501 5.5.4 Bad message size syntax"],
      ["MAIL FROM:<a@example.com> SIZE", "501 5.5.4 Bad message size syntax"],
      ["MAIL FROM:<a@example.com> BODY=BINARYMIME", "501 5.5.4 Bad BODY parameter syntax"],
      ["MAIL FROM:<a@example.com> RET=ALL", "501 5.5.4 Bad RET parameter syntax"],
      ["MAIL FROM:<a@example.com> RET=FULL RET=HDRS", "501 5.5.4 Bad RET parameter syntax"],
      ["MAIL FROM:<a@example.com> AUTH=<>", "555 5.5.4 Unsupported option: AUTH"],
      ["MAIL FROM:<a@example.com> SMTPUTF8", "555 5.5.4 Unsupported option: SMTPUTF8"],
      ["MAIL FROM:<a@example.com>", "250 2.1.0 Ok"],
      ["RCPT", "501 5.5.4 Syntax: RCPT TO:<address>"],
      ["RCPT TO:<b@example..net>", "501 5.1.3 Bad recipient address syntax"],
      ["RCPT TO:<b@example.net> SIZE=1", "555 5.5.4 Unsupported option: SIZE"],
      ["RSET now", "501 5.5.4 Syntax: RSET"],
      ["VRFY", "501 5.5.4 Syntax: VRFY address"],
      ["QUIT now", "501 5.5.4 Syntax: QUIT"],
      ["HELLO", "500 5.5.2 Error: command not recognized"],
    ]);
  });

  // The same words as Postfix while these are off: test/parity/smtpd-not-offered.test.ts. Postfix's ETRN is always on.
  it("refuses what it does not announce", async () => {
    await using server = await startListener({ intake: new MemoryIntake() });
    using client = await SmtpClient.open(server.port);
    await say(client, [
      // RFC 5321 §4.2.4: 502 for what is known and not implemented.
      ["ETRN example.net", "502 5.5.1 Error: command not implemented"],
      ["STARTTLS", "502 5.5.1 Error: command not implemented"],
      ["AUTH PLAIN", "503 5.5.1 Error: authentication not enabled"],
      ["XCLIENT NAME=client.example.net", "550 5.7.0 Error: insufficient authorization"],
      ["XFORWARD NAME=client.example.net", "550 5.7.0 Error: insufficient authorization"],
      ["EXPN list", "500 5.5.2 Error: command not recognized"],
      ["HELP", "500 5.5.2 Error: command not recognized"],
      ["NOOP", "250 2.0.0 Ok"],
    ]);
  });

  it("ends at BDAT, which it does not announce: the content behind it is no commands", async () => {
    await using server = await startListener({ intake: new MemoryIntake() });
    using client = await SmtpClient.open(server.port);
    client.send("BDAT 6 LAST\r\nNOOP\r\n");
    assert.deepEqual(await client.repliesToTheEnd(), ["521 5.5.1 Error: command not implemented"]);
  });

  it("answers NOOP, RSET and VRFY", async () => {
    await using server = await startListener({ intake: new MemoryIntake() });
    using client = await SmtpClient.open(server.port);
    await say(client, [
      ["NOOP hello", "250 2.0.0 Ok"],
      ["RSET", "250 2.0.0 Ok"],
      ["VRFY <b@example.net>", "252 2.0.0 b@example.net"],
    ]);
  });

  it("hangs up on other protocols and on header lines", async () => {
    await using server = await startListener({ intake: new MemoryIntake() });
    const farewell = "221 2.7.0 Error: I can break rules, too. Goodbye.";
    for (const line of [
      "GET / HTTP/1.1",
      "POST / HTTP/1.1",
      "Subject: hello",
      "\u0016\u0003\u0001",
    ]) {
      using client = await connectTo(server.port);
      await say(client, [[line, farewell]]);
      await assert.rejects(client.reply());
    }
    assert.ok(server.lines.includes("warning: non-SMTP command from localhost[127.0.0.1]: ???"));
  });

  it("turns 5xx into 4xx with soft_bounce", async () => {
    await using server = await startListener({
      intake: new MemoryIntake(),
      parameters: { soft_bounce: "yes" },
    });
    using client = await SmtpClient.open(server.port);
    await say(client, [
      ["HELO", "401 Syntax: HELO hostname"],
      ["RCPT TO:<b@example.net>", "403 4.5.1 Error: need MAIL command"],
    ]);
  });
});

describe("SMTP rules", () => {
  it("V1 refuses a SIZE over message_size_limit at MAIL, and the real size after the dot", async () => {
    const intake = new MemoryIntake();
    const parameters = { message_size_limit: "50000" };
    await using server = await startListener({ intake, parameters });
    using client = await SmtpClient.open(server.port);
    await say(client, [
      ["MAIL FROM:<a@example.com> SIZE=50001", "552 5.3.4 Message size exceeds fixed limit"],
    ]);
    await openData(client);
    const line = `${"x".repeat(78)}\r\n`;
    const reply = await client.command(`Subject: big\r\n\r\n${line.repeat(700)}.`);
    assert.equal(reply.text, "552 5.3.4 Error: message file too big");
    await openData(client);
    assert.equal((await client.command("Subject: small\r\n\r\n.")).code, 250);
    assert.equal(intake.messages.length, 1);
    assert.equal(intake.open.size, 0, "content of the refused message was left behind");
  });

  it("V1 has no limit when message_size_limit is 0", async () => {
    const intake = new MemoryIntake();
    const parameters = { message_size_limit: "0" };
    await using server = await startListener({ intake, parameters });
    using client = await connectTo(server.port);
    assert.ok((await client.command("EHLO client")).lines.includes("SIZE"));
    await say(client, [["MAIL FROM:<a@example.com> SIZE=99999999999", "250 2.1.0 Ok"]]);
  });

  it("V3 refuses recipients over the limit, and counts errors only beyond the overshoot limit", async () => {
    const intake = new MemoryIntake();
    const parameters = {
      smtpd_recipient_limit: "2",
      smtpd_recipient_overshoot_limit: "3",
      smtpd_hard_error_limit: "2",
      smtpd_soft_error_limit: "1000",
    };
    await using server = await startListener({ intake, parameters });
    using client = await SmtpClient.open(server.port);
    const refused = "452 4.5.3 Error: too many recipients";
    await say(client, [
      ["MAIL FROM:<a@example.com>", "250 2.1.0 Ok"],
      ["RCPT TO:<b1@example.net>", "250 2.1.5 Ok"],
      ["RCPT TO:<b2@example.net>", "250 2.1.5 Ok"],
      ["RCPT TO:<b3@example.net>", refused],
      ["RCPT TO:<b4@example.net>", refused],
      ["RCPT TO:<b5@example.net>", refused],
      ["RCPT TO:<b6@example.net>", refused],
      ["RCPT TO:<b7@example.net>", refused],
    ]);
    assert.equal((await client.reply()).text, "421 4.7.0 mail.example.com Error: too many errors");
  });

  it("V4 keeps a transaction over a refused RCPT, and starts anew after DATA, RSET, HELO and EHLO", async () => {
    const intake = new MemoryIntake();
    await using server = await startListener({ intake });
    using client = await SmtpClient.open(server.port);
    await say(client, [
      ["MAIL FROM:<a@example.com>", "250 2.1.0 Ok"],
      ["RCPT TO:<b@@example.net>", "501 5.1.3 Bad recipient address syntax"],
      ["RCPT TO:<b@example.net>", "250 2.1.5 Ok"],
      ["DATA", "354 End data with <CR><LF>.<CR><LF>"],
    ]);
    assert.equal((await client.command("\r\n.")).code, 250);
    const needMail = "503 5.5.1 Error: need MAIL command";
    await say(client, [
      ["RCPT TO:<b@example.net>", needMail],
      ["MAIL FROM:<a@example.com>", "250 2.1.0 Ok"],
      ["RSET", "250 2.0.0 Ok"],
      ["RCPT TO:<b@example.net>", needMail],
      ["MAIL FROM:<a@example.com>", "250 2.1.0 Ok"],
      ["HELO client", "250 mail.example.com"],
      ["RCPT TO:<b@example.net>", needMail],
      ["MAIL FROM:<a@example.com>", "250 2.1.0 Ok"],
    ]);
    assert.equal((await client.command("EHLO client")).code, 250);
    await say(client, [["RCPT TO:<b@example.net>", needMail]]);
    assert.equal(intake.messages.length, 1);
  });

  it("V5 refuses the null recipient, takes the null sender, and completes bare addresses", async () => {
    const intake = new MemoryIntake();
    await using server = await startListener({ intake });
    using client = await SmtpClient.open(server.port);
    await say(client, [
      ["MAIL FROM:<>", "250 2.1.0 Ok"],
      ["RCPT TO:<>", "501 5.1.3 Bad recipient address syntax"],
      ["RCPT TO:<postmaster>", "250 2.1.5 Ok"],
      ["DATA", "354 End data with <CR><LF>.<CR><LF>"],
    ]);
    assert.equal((await client.command("\r\n.")).code, 250);
    assert.equal(intake.messages[0]?.envelope.sender, "");
    assert.equal(intake.messages[0]?.recipients[0]?.address, "postmaster@mail.example.com");
  });

  it("V6 takes addresses without brackets, and commands in any case", async () => {
    const intake = new MemoryIntake();
    await using server = await startListener({ intake });
    using client = await SmtpClient.open(server.port);
    await say(client, [
      ["mail from: a@example.com size=10", "250 2.1.0 Ok"],
      ["Rcpt To:b@Example.NET", "250 2.1.5 Ok"],
      ["dAtA", "354 End data with <CR><LF>.<CR><LF>"],
    ]);
    assert.equal((await client.command("\r\n.")).code, 250);
    assert.equal(intake.messages[0]?.recipients[0]?.address, "b@Example.NET");
  });

  it("keeps recipients as they were given: letter case, xn-- domains, quoted local parts", async () => {
    const intake = new MemoryIntake();
    await using server = await startListener({ intake });
    using client = await SmtpClient.open(server.port);
    await say(client, [
      ["MAIL FROM:<a@example.com>", "250 2.1.0 Ok"],
      ["RCPT TO:<Bob@example.net> NOTIFY=SUCCESS,FAILURE", "250 2.1.5 Ok"],
      ["RCPT TO:<bob@example.net> NOTIFY=NEVER", "250 2.1.5 Ok"],
      ["RCPT TO:<b@xn--bcher-kva.example>", "250 2.1.5 Ok"],
      ['RCPT TO:<"john doe"@example.net>', "250 2.1.5 Ok"],
      ['RCPT TO:<"x>y"@my_host.example> NOTIFY=NEVER', "250 2.1.5 Ok"],
      ["RCPT TO:<@relay.example,@other.example:c@example.net>", "250 2.1.5 Ok"],
      ["DATA", "354 End data with <CR><LF>.<CR><LF>"],
    ]);
    assert.equal((await client.command("\r\n.")).code, 250);
    assert.deepEqual(
      intake.messages[0]?.recipients.map(({ address, notify }) => ({ address, notify })),
      [
        { address: "Bob@example.net", notify: ["SUCCESS", "FAILURE"] },
        { address: "bob@example.net", notify: ["NEVER"] },
        { address: "b@xn--bcher-kva.example", notify: undefined },
        { address: '"john doe"@example.net', notify: undefined },
        { address: '"x>y"@my_host.example', notify: ["NEVER"] },
        { address: "c@example.net", notify: undefined },
      ],
    );
  });

  it("V8 cuts command lines at line_length_limit, in whatever pieces they come", async () => {
    await using server = await startListener({ intake: new MemoryIntake() });
    using client = await SmtpClient.open(server.port);
    await say(client, [[`NOOP ${"x".repeat(100_000)}`, "250 2.0.0 Ok"]]);
    client.send("NO");
    client.send("OP ");
    client.send("x".repeat(3000));
    client.send("\r");
    await say(client, [["", "250 2.0.0 Ok"]]);
    const padding = " ".repeat(2048);
    await say(client, [[`MAIL FROM:<a@example.com>${padding}NOT=READ`, "250 2.1.0 Ok"]]);
    client.send(`RCPT TO:<b@example.net>${padding}`);
    await say(client, [["NOT=READ", "250 2.1.5 Ok"]]);
  });

  it("V8 takes content lines of any length", async () => {
    const intake = new MemoryIntake();
    await using server = await startListener({ intake });
    using client = await SmtpClient.open(server.port);
    await openData(client);
    const long = "y".repeat(300_000);
    assert.equal((await client.command(`Subject: long\r\n\r\n${long}\r\n.`)).code, 250);
    assert.ok(intake.messages[0]?.text.endsWith(`\r\n\r\n${long}\r\n`));
  });

  it("V9 adds Received: ESMTP or SMTP, the id, and the recipient if there is one only", async () => {
    const intake = new MemoryIntake();
    await using server = await startListener({ intake });
    using client = await SmtpClient.open(server.port, "cli;ent(x)");
    await openData(client);
    await client.command("Subject: one\r\n\r\n.");
    await say(client, [
      ["HELO plain.example", "250 mail.example.com"],
      ["MAIL FROM:<a@example.com>", "250 2.1.0 Ok"],
      ["RCPT TO:<b@example.net>", "250 2.1.5 Ok"],
      ["RCPT TO:<c@example.net>", "250 2.1.5 Ok"],
      ["DATA", "354 End data with <CR><LF>.<CR><LF>"],
    ]);
    await client.command("Subject: two\r\n\r\n.");
    const [one, two] = intake.messages;
    assert.match(
      one?.text ?? "",
      /^Received: from cli\?ent\?x\? \(localhost \[127\.0\.0\.1\]\)\r\n\tby mail\.example\.com \(postmq\) with ESMTP id \w+\r\n\tfor <b@example\.net>; /,
    );
    assert.match(
      two?.text ?? "",
      /^Received: from plain\.example \(localhost \[127\.0\.0\.1\]\)\r\n\tby mail\.example\.com \(postmq\) with SMTP id \w+; /,
    );
  });

  it("V10 checks and keeps DSN parameters", async () => {
    const intake = new MemoryIntake();
    const parameters = { smtpd_hard_error_limit: "1000", smtpd_soft_error_limit: "1000" };
    await using server = await startListener({ intake, parameters });
    using client = await SmtpClient.open(server.port);
    const badNotify = "501 5.5.4 Bad NOTIFY parameter syntax";
    const badOrcpt = "501 5.5.4 Bad ORCPT parameter syntax";
    const badEnvid = "501 5.5.4 Bad ENVID parameter syntax";
    await say(client, [
      [`MAIL FROM:<a@example.com> ENVID=${"x".repeat(101)}`, badEnvid],
      ["MAIL FROM:<a@example.com> ENVID=a+0D+0Ab", badEnvid],
      ["MAIL FROM:<a@example.com> ENVID=", badEnvid],
      ["MAIL FROM:<a@example.com> RET=hdrs ENVID=QQ+2B314 BODY=8BITMIME", "250 2.1.0 Ok"],
      ["RCPT TO:<b@example.net> NOTIFY=NEVER,SUCCESS", badNotify],
      ["RCPT TO:<b@example.net> NOTIFY=SOMETIMES", badNotify],
      ["RCPT TO:<b@example.net> NOTIFY=SUCCESS,SUCCESS", badNotify],
      ["RCPT TO:<b@example.net> NOTIFY=", badNotify],
      ["RCPT TO:<b@example.net> ORCPT=b@example.net", badOrcpt],
      ["RCPT TO:<b@example.net> ORCPT=rfc822;", badOrcpt],
      ["RCPT TO:<b@example.net> ORCPT=rfc822;b+0Ab@example.net", badOrcpt],
      ["RCPT TO:<b@example.net> ORCPT=rfc822;b=b@example.net", badOrcpt],
      [
        "RCPT TO:<b@example.net> NOTIFY=DELAY,failure ORCPT=rfc822;b+2Bc@example.net",
        "250 2.1.5 Ok",
      ],
      ["DATA", "354 End data with <CR><LF>.<CR><LF>"],
    ]);
    assert.equal((await client.command("\r\n.")).code, 250);
    const [message] = intake.messages;
    assert.equal(message?.envelope.ret, "HDRS");
    assert.equal(message?.envelope.envid, "QQ+314");
    assert.deepEqual(message?.recipients, [
      { address: "b@example.net", notify: ["FAILURE", "DELAY"], orcpt: "rfc822;b+c@example.net" },
    ]);
  });

  it("D33 keeps the delimiters of XVERP, its own or the default ones", async () => {
    const intake = new MemoryIntake();
    await using server = await startListener({ intake, isVerp: true });
    using client = await connectTo(server.port);
    assert.ok((await client.command("EHLO client.example.net")).lines.includes("XVERP"));
    const bad = "501 5.5.4 Error: XVERP needs two characters from -=+";
    await say(client, [
      ["MAIL FROM:<a@example.com> XVERP=", bad],
      ["MAIL FROM:<a@example.com> XVERP=+", bad],
      ["MAIL FROM:<a@example.com> XVERP=+=-", bad],
      ["MAIL FROM:<a@example.com> XVERP=+#", bad],
      ["MAIL FROM:<> XVERP", "503 5.5.4 Error: XVERP requires non-null sender"],
    ]);
    for (const word of ["XVERP", "xverp==-", "BODY=8BITMIME"]) {
      await say(client, [
        [`MAIL FROM:<a@example.com> ${word}`, "250 2.1.0 Ok"],
        ["RCPT TO:<b@example.net>", "250 2.1.5 Ok"],
        ["DATA", "354 End data with <CR><LF>.<CR><LF>"],
      ]);
      assert.equal((await client.command("\r\n.")).code, 250);
    }
    assert.deepEqual(
      intake.messages.map(({ envelope }) => envelope.verpDelimiters),
      ["+=", "=-", undefined],
    );
  });

  it("D33 knows no XVERP where the client may not ask for it", async () => {
    await using server = await startListener({ intake: new MemoryIntake() });
    using client = await connectTo(server.port);
    assert.ok(!(await client.command("EHLO client.example.net")).lines.includes("XVERP"));
    await say(client, [
      ["MAIL FROM:<a@example.com> XVERP", "555 5.5.4 Unsupported option: XVERP"],
      ["MAIL FROM:<a@example.com> XVERP==-", "555 5.5.4 Unsupported option: XVERP"],
    ]);
  });

  it("V11 keeps BODY as the encoding, and refuses addresses that need SMTPUTF8", async () => {
    const intake = new MemoryIntake();
    await using server = await startListener({ intake });
    using client = await SmtpClient.open(server.port);
    await say(client, [
      [
        "MAIL FROM:<gr\u00C3\u00BCn@example.com>",
        "553 5.6.7 Internationalized sender address not supported",
      ],
      ["MAIL FROM:<a@example.com> BODY=8bitmime", "250 2.1.0 Ok"],
      [
        "RCPT TO:<b@b\u00C3\u00BCcher.example>",
        "553 5.6.7 Internationalized recipient address not supported",
      ],
      ["RCPT TO:<b@example.net>", "250 2.1.5 Ok"],
      ["DATA", "354 End data with <CR><LF>.<CR><LF>"],
    ]);
    assert.equal((await client.command("\r\n\u00E9\r\n.")).code, 250);
    assert.equal(intake.messages[0]?.envelope.encoding, "8bit");
    assert.ok(intake.messages[0]?.text.endsWith("\r\n\r\n\u00E9\r\n"));
  });

  it("stores a large message byte for byte behind its rewritten head", async () => {
    const intake = new MemoryIntake();
    await using server = await startListener({ intake, isOwn: true });
    using client = await SmtpClient.open(server.port);
    const lines = [".", "..", ".dot", "\u00E9\u0000\u00FF", "", "x".repeat(5000)];
    const body = Array.from({ length: 4000 }, (_, index) => lines[index % lines.length]).join(
      "\r\n",
    );
    const content = `Bcc: secret@example.net\r\nSubject: big\r\n\r\n${body}\r\n`;
    const reply = await client.deliver({
      from: "a@example.com",
      to: ["b@example.net"],
      content: Buffer.from(content, "latin1"),
    });
    assert.equal(reply.code, 250);
    const text = intake.messages[0]?.text ?? "";
    assert.equal(text.slice(text.indexOf("\r\n\r\n") + 4), `${body}\r\n`);
    const head = text.slice(0, text.indexOf("\r\n\r\n"));
    assert.match(
      head,
      /^Received: .*\r\nSubject: big\r\nMessage-Id: <.*\r\nDate: .*\r\nFrom: a@example\.com$/s,
    );
    assert.doesNotMatch(head, /secret/);
  });

  it("refuses a mail loop and a message whose headers never end, and leaves nothing behind", async () => {
    const intake = new MemoryIntake();
    await using server = await startListener({ intake });
    using client = await SmtpClient.open(server.port);
    await openData(client);
    const loop = await client.command(`${"Received: from x\r\n".repeat(60)}\r\n.`);
    assert.equal(loop.text, "554 5.4.0 Error: too many hops");
    await openData(client);
    const endless = await client.command(`${"X-Long: x\r\n".repeat(200_000)}.`);
    assert.equal(endless.text, "552 5.3.4 Error: message headers too large");
    assert.equal(intake.messages.length, 0);
    assert.equal(intake.open.size, 0);
  });

  it("answers commands that come in one piece in one piece, and those after the message as well", async () => {
    const intake = new MemoryIntake();
    await using server = await startListener({ intake });
    using client = await SmtpClient.open(server.port);
    client.send(
      "MAIL FROM:<a@example.com>\r\nRCPT TO:<b@example.net>\r\nRCPT TO:<c@example.net>\r\nDATA\r\n",
    );
    const codes: number[] = [];
    for (let index = 0; index < 4; index++) codes.push((await client.reply()).code);
    client.send("Subject: x\r\n\r\nbody\r\n.\r\nMAIL FROM:<a@example.com>\r\nRSET\r\nQUIT\r\n");
    for (let index = 0; index < 4; index++) codes.push((await client.reply()).code);
    assert.deepEqual(codes, [250, 250, 250, 354, 250, 250, 250, 221]);
    assert.equal(intake.messages.length, 1);
  });
});
