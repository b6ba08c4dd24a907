import assert from "node:assert/strict";
import { createServer } from "node:net";
import { describe, it } from "node:test";

import { FakeSmtpServer } from "@postmq/testing";
import type { Behaviour, StageEvent } from "@postmq/testing";

import { request, startWorker } from "../delivery.test-support.ts";
import type { MailResolver } from "@postmq/dns";

const at = (stage: StageEvent["stage"], behaviour: Behaviour) => (event: StageEvent) =>
  event.stage === stage ? behaviour : undefined;

const host = "127.0.0.1[127.0.0.1]";
const shortTimes = {
  POSTMQ_SMTP_HELO_TIMEOUT: "1s",
  POSTMQ_SMTP_MAIL_TIMEOUT: "1s",
  POSTMQ_SMTP_RCPT_TIMEOUT: "1s",
  POSTMQ_SMTP_DATA_INIT_TIMEOUT: "1s",
  POSTMQ_SMTP_DATA_XFER_TIMEOUT: "1s",
  POSTMQ_SMTP_DATA_DONE_TIMEOUT: "1s",
};

/** Two servers, tried in this order. They listen on addresses of 127/8 and one port. */
async function twoServers() {
  const first = await FakeSmtpServer.start();
  const second = await FakeSmtpServer.start();
  return {
    first,
    second,
    nexthop: `${first.relayhost}, ${second.relayhost}`,
    [Symbol.asyncDispose]: async () => {
      await first[Symbol.asyncDispose]();
      await second[Symbol.asyncDispose]();
    },
  };
}

async function closedPort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  await new Promise<void>((resolve) => server.close(() => resolve()));
  return typeof address === "object" && address !== null ? address.port : 0;
}

/** Delivers one message to one server that behaves like this. */
async function deliver(
  decide: FakeSmtpServer["decide"],
  options: {
    readonly env?: Readonly<Record<string, string>>;
    readonly to?: readonly string[];
    readonly keywords?: readonly string[];
  } = {},
) {
  await using server = await FakeSmtpServer.start({
    decide,
    ...(options.keywords === undefined ? {} : { keywords: options.keywords }),
  });
  await using test = await startWorker(options.env);
  await test.serve(
    request(1, server.relayhost, options.to === undefined ? {} : { to: options.to }),
  );
  return {
    outcomes: test.delivering.shownOutcomes,
    reasons: test.delivering.onlyEnd.outcomes.map(({ reason }) => reason),
    remotes: test.delivering.onlyEnd.outcomes.map(({ remote }) => remote),
    feedback: test.delivering.onlyEnd.feedback,
    log: test.log,
    messages: server.messages,
    connections: server.totalConnections,
    attempts: test.attempts,
  };
}

describe("one outcome per recipient", () => {
  it("D7: sent carries the remote reply", async () => {
    const { outcomes, reasons, remotes, feedback } = await deliver(
      at("dot", { reply: "250 2.6.0 queued as 42" }),
    );
    assert.deepEqual(outcomes, ["0 sent 2.6.0"]);
    assert.deepEqual(reasons, ["250 2.6.0 queued as 42"]);
    assert.equal(remotes[0]?.reply, "250 2.6.0 queued as 42");
    assert.deepEqual(feedback, { kind: "good" });
  });

  it("31: mixed 250, 4xx and 5xx recipients each get their own", async () => {
    const { outcomes, reasons, messages, feedback } = await deliver(
      ({ stage, recipient }) => {
        if (stage !== "rcpt") return undefined;
        if (recipient.startsWith("no")) return { reply: "550 5.1.1 unknown" };
        return recipient.startsWith("later") ? { reply: "450 4.2.0 greylisted" } : undefined;
      },
      { to: ["yes@example.net", "no@example.net", "later@example.net"] },
    );
    assert.deepEqual(outcomes, ["0 sent 2.0.0", "1 failed 5.1.1", "2 deferred 4.2.0"]);
    assert.ok(
      reasons.includes(`host ${host} said: 550 5.1.1 unknown (in reply to RCPT TO command)`),
    );
    assert.deepEqual(messages[0]?.recipients, ["yes@example.net"]);
    assert.deepEqual(feedback, { kind: "good" });
  });

  it("LIBRARIES §3: RCPT rejections stand when the end of data fails", async () => {
    const { outcomes } = await deliver(
      ({ stage, recipient }) => {
        if (stage === "dot") return { reply: "451 4.3.0 disk" };
        return stage === "rcpt" && recipient.startsWith("no")
          ? { reply: "550 5.1.1 unknown" }
          : undefined;
      },
      { to: ["yes@example.net", "no@example.net"] },
    );
    assert.deepEqual(outcomes, ["0 deferred 4.3.0", "1 failed 5.1.1"]);
  });

  it("D12, §2: 5xx to MAIL bounces all", async () => {
    const { outcomes, reasons, feedback } = await deliver(at("mail", { reply: "550 5.7.1 no" }), {
      to: ["a@example.net", "b@example.net"],
    });
    assert.deepEqual(outcomes, ["0 failed 5.7.1", "1 failed 5.7.1"]);
    assert.match(reasons[0] ?? "", /in reply to MAIL FROM command/);
    assert.deepEqual(feedback, { kind: "good" });
  });

  it("28: DATA refused defers or bounces the accepted ones", async () => {
    assert.deepEqual((await deliver(at("data", { reply: "451 4.3.0 x" }))).outcomes, [
      "0 deferred 4.3.0",
    ]);
    assert.deepEqual((await deliver(at("data", { reply: "554 5.3.0 x" }))).outcomes, [
      "0 failed 5.3.0",
    ]);
  });

  it("the end of data refused", async () => {
    const { outcomes, reasons } = await deliver(at("dot", { reply: "552 5.3.4 too big" }));
    assert.deepEqual(outcomes, ["0 failed 5.3.4"]);
    assert.equal(
      reasons[0],
      `host ${host} said: 552 5.3.4 too big (in reply to end of DATA command)`,
    );
  });

  it("D8: 552 to RCPT is permanent", async () => {
    assert.deepEqual((await deliver(at("rcpt", { reply: "552 5.2.2 full" }))).outcomes, [
      "0 failed 5.2.2",
    ]);
  });

  it("D7: nonsense for a reply is a protocol error", async () => {
    const { outcomes, reasons } = await deliver(at("mail", { reply: "354 what" }));
    assert.deepEqual(outcomes, ["0 failed 5.5.0"]);
    assert.match(reasons[0] ?? "", /^Protocol error: host /);
  });

  it("D10: an early 5xx is used when the connection breaks amid the content", async () => {
    await using server = await FakeSmtpServer.start({
      decide: at("body", { reply: "554 5.7.1 virus", cut: "after" }),
    });
    await using test = await startWorker();
    await test.serve(request(1, server.relayhost, { inline: Buffer.alloc(8_000_000, "x\r\n") }));
    assert.deepEqual(test.delivering.shownOutcomes, ["0 failed 5.7.1"]);
    assert.match(test.delivering.onlyOutcome.reason, /in reply to end of DATA command/);
  });

  it("30: recipients beyond the server's limit go in a further transaction of the same attempt", async () => {
    const { outcomes, messages, connections } = await deliver(
      ({ stage, recipients }) =>
        stage === "rcpt" && recipients.length >= 2
          ? { reply: "452 4.5.3 too many recipients" }
          : undefined,
      { to: [1, 2, 3, 4, 5].map((n) => `u${n}@example.net`) },
    );
    assert.deepEqual(
      outcomes,
      [0, 1, 2, 3, 4].map((n) => `${n} sent 2.0.0`),
    );
    assert.deepEqual(
      messages.map(({ recipients }) => recipients.length),
      [2, 2, 1],
    );
    assert.equal(connections, 1);
  });

  it("30: a 452 for everybody is an ordinary deferral", async () => {
    const { outcomes, messages } = await deliver(at("rcpt", { reply: "452 4.2.2 full" }), {
      to: ["a@example.net", "b@example.net"],
    });
    assert.deepEqual(outcomes, ["0 deferred 4.2.2", "1 deferred 4.2.2"]);
    assert.equal(messages.length, 0);
  });
});

describe("outcomes that the operator bends", () => {
  const refusesOne: FakeSmtpServer["decide"] = ({ stage, recipient }) =>
    stage === "rcpt" && recipient.startsWith("no") ? { reply: "550 5.1.1 unknown" } : undefined;

  it("D13: soft_bounce keeps what would bounce, with a word of its own in the log", async () => {
    const { outcomes, attempts } = await deliver(refusesOne, {
      env: { POSTMQ_SOFT_BOUNCE: "yes" },
      to: ["yes@example.net", "no@example.net"],
    });
    assert.deepEqual(outcomes, ["0 sent 2.0.0", "1 deferred 4.1.1"]);
    assert.deepEqual(
      attempts[0]?.reports.map(({ isSoftBounce }) => isSoftBounce),
      [false, true],
    );
  });

  it("D13: under soft_bounce a 5xx is tried at the next server", async () => {
    await using servers = await twoServers();
    servers.first.decide = refusesOne;
    await using test = await startWorker({ POSTMQ_SOFT_BOUNCE: "yes" });
    await test.serve(request(1, servers.nexthop, { to: ["no@example.net"] }));
    assert.deepEqual(test.delivering.shownOutcomes, ["0 sent 2.0.0"]);
    assert.equal(servers.second.messages.length, 1);
  });

  it("D14: smtp_delivery_status_filter turns a bounce into a deferral", async () => {
    const { outcomes, reasons } = await deliver(refusesOne, {
      env: { POSTMQ_SMTP_DELIVERY_STATUS_FILTER: "static:{4.1.1 not yet}" },
      to: ["no@example.net"],
    });
    assert.deepEqual([outcomes, reasons], [["0 deferred 4.1.1"], ["not yet"]]);
  });
});

describe("success reports", () => {
  const notify = ["SUCCESS"] as const;
  const toldOf = async (keywords: readonly string[]) => {
    await using server = await FakeSmtpServer.start({ keywords });
    await using test = await startWorker();
    const recipients = request(1, "").recipients.map((each) => ({ ...each, notify }));
    await test.serve(request(1, server.relayhost, { recipients }));
    return test.delivering.onlyOutcome.owesReport;
  };

  it("D31: are owed when the next hop does not offer DSN", async () => {
    assert.equal(await toldOf([]), "relayed");
  });

  it("D31: are the next hop's duty when it offers DSN", async () => {
    assert.equal(await toldOf(["DSN"]), undefined);
  });
});

describe("what a server can't take", () => {
  it("D16: never sends mail that exceeds SIZE", async () => {
    const { outcomes, reasons, feedback } = await deliver(() => undefined, {
      keywords: ["PIPELINING", "SIZE 10"],
    });
    assert.deepEqual(outcomes, ["0 failed 5.3.4"]);
    assert.equal(reasons[0], `message size 22 exceeds size limit 10 of server ${host}`);
    assert.deepEqual(feedback, { kind: "good" });
  });

  it("D18: bounces who needs SMTPUTF8 where it is not offered, and delivers to the others", async () => {
    const { outcomes, messages } = await deliver(() => undefined, {
      keywords: ["PIPELINING"],
      to: ["ü@example.net", "u@example.net"],
    });
    assert.deepEqual(outcomes, ["0 failed 5.6.7", "1 sent 2.0.0"]);
    assert.deepEqual(messages[0]?.recipients, ["u@example.net"]);
  });

  it("D18: UTF-8 in the sender or a header needs SMTPUTF8 of a server that takes 8 bits, too", async () => {
    for (const [sender, header] of [
      ["ü@example.com", "Subject: u"],
      ["u@example.com", "Subject: ü"],
    ] as const) {
      await using server = await FakeSmtpServer.start({ keywords: ["8BITMIME"] });
      await using test = await startWorker();
      const envelope = { sender, origin: "smtp", smtputf8: header.endsWith("ü") } as const;
      await test.serve(
        request(1, server.relayhost, { envelope, inline: Buffer.from(`${header}\r\n\r\nx\r\n`) }),
      );
      assert.deepEqual(server.messages, []);
      assert.deepEqual(test.delivering.shownOutcomes, ["0 failed 5.6.7"]);
    }
  });

  it("D18: a UTF-8 header needs SMTPUTF8 too, a plain one does not", async () => {
    for (const [header, wanted] of [
      ["Subject: ü", "0 failed 5.6.7"],
      ["Subject: u", "0 sent 2.0.0"],
    ] as const) {
      await using server = await FakeSmtpServer.start({ keywords: [] });
      await using test = await startWorker();
      const envelope = { sender: "a@example.com", origin: "smtp", smtputf8: true } as const;
      await test.serve(
        request(1, server.relayhost, { envelope, inline: Buffer.from(`${header}\r\n\r\nü\r\n`) }),
      );
      assert.deepEqual(test.delivering.shownOutcomes, [wanted]);
    }
  });

  it("security 3: an address with a line break never reaches a server", async () => {
    const { outcomes, messages } = await deliver(() => undefined, {
      to: ["a@b\r\nRCPT TO:<v@x>", "ok@example.net"],
    });
    assert.deepEqual(outcomes, ["0 failed 5.1.3", "1 sent 2.0.0"]);
    assert.deepEqual(messages[0]?.recipients, ["ok@example.net"]);
  });
});

describe("trouble with a server", () => {
  it("§8: connection refused", async () => {
    const port = await closedPort();
    await using test = await startWorker();
    await test.serve(request(1, `[127.0.0.1]:${port}`));
    const reason = `connect to ${host}:${port}: Connection refused`;
    assert.deepEqual(test.delivering.onlyOutcome, {
      recipient: 0,
      kind: "deferred",
      status: "4.4.1",
      reason,
    });
    assert.deepEqual(test.delivering.onlyEnd.feedback, {
      kind: "trouble",
      status: "4.4.1",
      reason,
    });
    assert.ok(test.log.includes(reason));
  });

  it("26: 421 at the greeting defers and is trouble", async () => {
    const { outcomes, reasons, feedback } = await deliver(
      at("greeting", { reply: "421 4.3.2 busy", cut: "after" }),
    );
    assert.deepEqual(outcomes, ["0 deferred 4.3.2"]);
    assert.deepEqual(reasons, [`host ${host} refused to talk to me: 421 4.3.2 busy`]);
    assert.equal(feedback.kind, "trouble");
  });

  it("§2: a greeting of 5xx is skipped, or bounces when smtp_skip_5xx_greeting is no", async () => {
    const refuse = at("greeting", { reply: "554 5.7.1 no" });
    assert.deepEqual((await deliver(refuse)).outcomes, ["0 deferred 4.7.1"]);
    const env = { POSTMQ_SMTP_SKIP_5XX_GREETING: "no" };
    assert.deepEqual((await deliver(refuse, { env })).outcomes, ["0 failed 5.7.1"]);
  });

  it("security 10: a greeting that is not SMTP ends the session before anything is said", async () => {
    const { outcomes, feedback } = await deliver(({ stage }) =>
      stage === "greeting" ? { reply: "-ERR unknown command" } : assert.fail(`got ${stage}`),
    );
    assert.deepEqual(outcomes, ["0 deferred 4.0.0"]);
    assert.equal(feedback.kind, "trouble");
  });

  it("§2: EHLO refused falls back to HELO; both refused turns us away", async () => {
    const lines: string[] = [];
    const decide = (event: StageEvent) => {
      if (event.stage === "ehlo") lines.push(event.line);
      return event.line.startsWith("EHLO") ? { reply: "502 5.5.1 no" } : undefined;
    };
    assert.deepEqual((await deliver(decide)).outcomes, ["0 sent 2.0.0"]);
    assert.deepEqual(lines, ["EHLO mx.example.com", "HELO mx.example.com"]);
    const never = await deliver(at("ehlo", { reply: "550 5.7.1 no" }));
    assert.deepEqual(never.outcomes, ["0 failed 5.7.1"]);
    const later = await deliver(at("ehlo", { reply: "421 4.3.2 no" }));
    assert.deepEqual(later.outcomes, ["0 deferred 4.3.2"]);
  });

  it("26: 421 amid the session defers and is trouble, greylisting is not", async () => {
    const closing = await deliver(at("rcpt", { reply: "421 4.3.2 going down", cut: "after" }));
    assert.deepEqual(closing.outcomes, ["0 deferred 4.3.2"]);
    assert.equal(closing.feedback.kind, "trouble");
    const grey = await deliver(at("rcpt", { reply: "450 4.2.0 later" }));
    assert.deepEqual(grey.outcomes, ["0 deferred 4.2.0"]);
    assert.deepEqual(grey.feedback, { kind: "good" });
  });

  it("26: 421 after the dot defers", async () => {
    const { outcomes, feedback } = await deliver(at("dot", { reply: "421 4.3.2 x", cut: "after" }));
    assert.deepEqual(outcomes, ["0 deferred 4.3.2"]);
    assert.equal(feedback.kind, "trouble");
  });

  it("28: a connection cut at any stage defers with Postfix's reason, and is trouble", async () => {
    const cases = [
      ["greeting", "receiving the initial server greeting"],
      ["ehlo", "performing the EHLO handshake"],
      ["mail", "sending MAIL FROM"],
      ["rcpt", "sending RCPT TO"],
      ["data", "sending DATA command"],
      ["body", "sending message body"],
    ] as const;
    for (const [stage, activity] of cases) {
      // Content that streams, so that the cut after the first bytes comes before the dot.
      await using server = await FakeSmtpServer.start({ decide: at(stage, { cut: "before" }) });
      await using test = await startWorker();
      const inline = Buffer.alloc(8_000_000, "x\r\n");
      await test.serve(request(1, server.relayhost, { inline }));
      const { status, reason, kind } = test.delivering.onlyOutcome;
      assert.deepEqual(
        [kind, status, reason],
        ["deferred", "4.4.2", `lost connection with ${host} while ${activity}`],
      );
      assert.equal(test.delivering.onlyEnd.feedback.kind, "trouble");
    }
  });

  it("D11, 27: a cut after the dot defers with a warning, and is tried nowhere else", async () => {
    await using servers = await twoServers();
    servers.first.decide = at("dot", { cut: "before" });
    await using test = await startWorker();
    await test.serve(request(1, servers.nexthop));
    const reason = `lost connection with ${host} while sending end of data -- message may be sent more than once`;
    assert.deepEqual(test.delivering.shownOutcomes, ["0 deferred 4.4.2"]);
    assert.equal(test.delivering.onlyOutcome.reason, reason);
    assert.ok(test.log.includes(`warning: ${reason}`));
    assert.equal(servers.second.totalConnections, 0);
  });

  it("25: each stage has its time limit", async () => {
    const cases = [
      ["greeting", "receiving the initial server greeting"],
      ["ehlo", "performing the EHLO handshake"],
      ["mail", "sending MAIL FROM"],
      ["rcpt", "sending RCPT TO"],
      ["data", "sending DATA command"],
      ["dot", "sending end of data -- message may be sent more than once"],
    ] as const;
    await Promise.all(
      cases.map(async ([stage, activity]) => {
        const { outcomes, reasons } = await deliver(at(stage, { hangs: true }), {
          env: shortTimes,
        });
        assert.deepEqual(outcomes, ["0 deferred 4.4.2"], stage);
        assert.deepEqual(reasons, [`conversation with ${host} timed out while ${activity}`]);
      }),
    );
  });

  it("25: content that the server stops reading has its time limit", async () => {
    await using server = await FakeSmtpServer.start({ decide: at("body", { hangs: true }) });
    await using test = await startWorker(shortTimes);
    await test.serve(request(1, server.relayhost, { inline: Buffer.alloc(30_000_000, "x\r\n") }));
    assert.equal(
      test.delivering.onlyOutcome.reason,
      `conversation with ${host} timed out while sending message body`,
    );
    assert.ok(!test.delivering.calls.includes("mark 1"));
  });

  it("25: a server that hangs at QUIT holds nothing up and gets no mail twice", async () => {
    await using server = await FakeSmtpServer.start({ decide: at("quit", { hangs: true }) });
    await using test = await startWorker({ POSTMQ_SMTP_CONNECTION_CACHE_TIME_LIMIT: "0" });
    await test.serve(request(1, server.relayhost));
    assert.equal(server.messages.length, 1);
    assert.equal(test.delivering.onlyOutcome.kind, "sent");
  });

  it("29, security 18: bytes that drip in do not put a deadline off", async () => {
    const { outcomes } = await deliver(at("mail", { dripMs: 300 }), { env: shortTimes });
    assert.deepEqual(outcomes, ["0 deferred 4.4.2"]);
  });

  it("a reply without end is cut off, not kept", async () => {
    const { outcomes } = await deliver(
      at("mail", { reply: `${"250-x".repeat(1).padEnd(80, "y")}\r\n`.repeat(2000) + "250 ok" }),
    );
    assert.deepEqual(outcomes, ["0 deferred 4.4.2"]);
  });
});

describe("the next address", () => {
  it("D6: is tried after a refused connection", async () => {
    const port = await closedPort();
    await using server = await FakeSmtpServer.start();
    await using test = await startWorker();
    await test.serve(request(1, `[127.0.0.1]:${port}, ${server.relayhost}`));
    assert.deepEqual(test.delivering.shownOutcomes, ["0 sent 2.0.0"]);
    assert.deepEqual(test.delivering.onlyEnd.feedback, { kind: "good" });
  });

  it("D6: gets those that had a 4xx; a 5xx is final; a 250 is not sent twice", async () => {
    await using servers = await twoServers();
    servers.first.decide = ({ stage, recipient }) => {
      if (stage !== "rcpt") return undefined;
      if (recipient.startsWith("no")) return { reply: "550 5.1.1 x" };
      return recipient.startsWith("later") ? { reply: "450 4.2.0 x" } : undefined;
    };
    await using test = await startWorker();
    const to = ["yes@example.net", "no@example.net", "later@example.net"];
    await test.serve(request(1, servers.nexthop, { to }));
    assert.deepEqual(test.delivering.shownOutcomes, [
      "0 sent 2.0.0",
      "1 failed 5.1.1",
      "2 sent 2.0.0",
    ]);
    assert.deepEqual(servers.second.messages[0]?.recipients, ["later@example.net"]);
  });

  it("D6: is tried after a lost connection before the dot", async () => {
    await using servers = await twoServers();
    servers.first.decide = at("data", { cut: "before" });
    await using test = await startWorker();
    await test.serve(request(1, servers.nexthop));
    assert.deepEqual(test.delivering.shownOutcomes, ["0 sent 2.0.0"]);
  });

  it("D6: is another one, when a kept connection has been told 4xx: no server is asked twice", async () => {
    let asked = 0;
    await using server = await FakeSmtpServer.start({
      decide: ({ stage }) => {
        if (stage !== "rcpt") return undefined;
        asked += 1;
        return asked === 1 ? undefined : { reply: "450 4.2.0 later" };
      },
    });
    await using test = await startWorker();
    await test.serve(request(1, server.relayhost), request(2, server.relayhost));
    await test.serve(request(3, server.relayhost));
    assert.equal(asked, 3);
    assert.equal(server.totalConnections, 1);
  });

  it("D6, 30: what the first server settled is recorded before the second one is sent anything", async () => {
    await using servers = await twoServers();
    servers.first.decide = ({ stage, recipient }) =>
      stage === "rcpt" && recipient.startsWith("later") ? { reply: "450 4.2.0 x" } : undefined;
    await using test = await startWorker();
    servers.second.decide = ({ stage }) => {
      if (stage === "mail") test.delivering.calls.push("second server");
      return undefined;
    };
    await test.serve(request(1, servers.nexthop, { to: ["yes@example.net", "later@example.net"] }));
    assert.deepEqual(test.delivering.calls, [
      "claim 1",
      "mark 1",
      "record 1 0",
      "second server",
      "mark 1",
      "end 1 tried",
      "log 1",
    ]);
  });

  it("D6: the last word stands when no server is left", async () => {
    await using servers = await twoServers();
    servers.first.decide = at("rcpt", { reply: "450 4.2.0 first" });
    servers.second.decide = at("rcpt", { reply: "451 4.7.1 second" });
    await using test = await startWorker();
    await test.serve(request(1, servers.nexthop));
    assert.deepEqual(test.delivering.shownOutcomes, ["0 deferred 4.7.1"]);
  });

  it("§6: trouble with the second server is no trouble when the first one talked", async () => {
    await using servers = await twoServers();
    servers.first.decide = at("rcpt", { reply: "450 4.2.0 first" });
    servers.second.decide = at("greeting", { reply: "421 4.3.2 x" });
    await using test = await startWorker();
    await test.serve(request(1, servers.nexthop));
    assert.deepEqual(test.delivering.onlyEnd.feedback, { kind: "good" });
  });
});

describe("addresses from DNS", () => {
  const mx = (...addresses: string[]): MailResolver => ({
    mx: async () => ({ kind: "found", records: [{ host: "mx.example.net", preference: 10 }] }),
    addresses: async (_, family) =>
      family === 4 ? { kind: "found", records: addresses } : { kind: "noData" },
    txt: async () => ({ kind: "noData" }),
  });
  const inOrder = { POSTMQ_SMTP_RANDOMIZE_ADDRESSES: "no" };

  it("D4: at most smtp_mx_session_limit sessions for one next hop", async () => {
    await using server = await FakeSmtpServer.start({
      decide: at("rcpt", { reply: "450 4.2.0 x" }),
    });
    const env = { ...inOrder, POSTMQ_SMTP_ALLOW_PRIVATE_ADDRESSES: "yes" };
    await using test = await startWorker(env, {
      resolver: mx("127.0.0.1", "127.0.0.1", "127.0.0.1"),
    });
    await test.serve(request(1, `example.net:${server.port}`));
    assert.equal(server.totalConnections, 2);
    assert.deepEqual(test.delivering.shownOutcomes, ["0 deferred 4.2.0"]);
  });

  it("D4: sessions that fail before EHLO do not count; addresses do", async () => {
    await using server = await FakeSmtpServer.start({
      decide: at("greeting", { reply: "421 4.3.2 x" }),
    });
    const env = { ...inOrder, POSTMQ_SMTP_ALLOW_PRIVATE_ADDRESSES: "yes" };
    await using test = await startWorker(env, {
      resolver: mx(...Array.from({ length: 8 }, () => "127.0.0.1")),
    });
    await test.serve(request(1, `example.net:${server.port}`));
    assert.equal(server.totalConnections, 5);
  });

  it("security 10: an MX that points into our network is not dialled", async () => {
    await using server = await FakeSmtpServer.start();
    await using test = await startWorker({}, { resolver: mx("127.0.0.1") });
    await test.serve(request(1, `example.net:${server.port}`));
    assert.equal(server.totalConnections, 0);
    assert.deepEqual(test.delivering.shownOutcomes, ["0 deferred 4.4.4"]);
  });

  it("security 10: a recipient's address literal does not reach our network, the relayhost does", async () => {
    await using test = await startWorker({ POSTMQ_RELAYHOST: "[127.0.0.2]" });
    await test.serve(request(1, "[127.0.0.3]", { to: ["u@[127.0.0.3]"] }));
    assert.deepEqual(test.delivering.shownOutcomes, ["0 deferred 4.4.4"]);
    await test.serve(request(2, "[127.0.0.2]", { to: ["u@[127.0.0.2]"] }));
    assert.match(test.delivering.ends[1]?.outcomes[0]?.reason ?? "", /^connect to 127\.0\.0\.2/);
  });

  it("D2: a domain that does not exist bounces, and is no trouble", async () => {
    await using test = await startWorker();
    await test.serve(request(1, "nowhere.example"));
    assert.deepEqual(test.delivering.shownOutcomes, ["0 failed 5.4.4"]);
    assert.deepEqual(test.delivering.onlyEnd.feedback, { kind: "good" });
  });

  it("D2: DNS that is in trouble defers, and is trouble", async () => {
    const resolver: MailResolver = {
      mx: async () => ({ kind: "tryAgain" }),
      addresses: async () => ({ kind: "tryAgain" }),
      txt: async () => ({ kind: "tryAgain" }),
    };
    await using test = await startWorker({}, { resolver });
    await test.serve(request(1, "example.net"), request(2, "example.net"));
    assert.deepEqual(
      test.delivering.ends.map(({ end, feedback }) => `${end} ${feedback.kind}`),
      ["tried trouble", "putBack none"],
    );
  });

  it("D5: a relayhost that does not exist bounces nothing", async () => {
    await using test = await startWorker({ POSTMQ_RELAYHOST: "nowhere.example" });
    await test.serve(request(1, "nowhere.example"));
    assert.deepEqual(test.delivering.shownOutcomes, ["0 deferred 4.3.5"]);
    assert.match(test.log[0] ?? "", /^warning: relayhost configuration problem/);
  });

  it("a next hop that can't be read defers", async () => {
    await using test = await startWorker();
    await test.serve(request(1, "[127.0.0.1]:ssh"));
    assert.deepEqual(test.delivering.shownOutcomes, ["0 deferred 4.3.5"]);
  });
});
