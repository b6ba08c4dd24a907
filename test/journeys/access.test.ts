/** P11; spec security.md 12 and 14: nobody relays, reads or submits without leave, and secrets stay out of logs. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";

import {
  FakeSmtpServer,
  sendMail,
  SmtpClient,
  startPostmq,
  startRedis,
  submitJson,
  submitRaw,
  testMail,
  waitFor,
} from "@postmq/testing";

describe("P11 access", () => {
  it("V22 relays nothing for a client beyond mynetworks", async () => {
    await using sink = await FakeSmtpServer.start();
    await using system = await startPostmq({
      parameters: {
        relayhost: sink.relayhost,
        // What is refused here is refused slowly otherwise (V13).
        smtpd_error_sleep_time: "0",
        mynetworks: "192.0.2.0/24",
        relay_domains: "ours.example.com",
      },
    });
    using client = await SmtpClient.open(system.smtpPort);
    for (const sender of ["", "a@src.example.com", "a@ours.example.com"]) {
      await client.command(`MAIL FROM:<${sender}>`);
      for (const recipient of [
        "b@dest.example.com",
        "b%dest.example.com@ours.example.com",
        "@ours.example.com:b@dest.example.com",
        "dest.example.com!b@dest.example.com",
        "b@[192.0.2.1]",
        '"b@dest.example.com"@elsewhere.example.com',
      ]) {
        const reply = await client.command(`RCPT TO:<${recipient}>`);
        assert.match(reply.text, /^(?:[45]54 [45]\.7\.1|501 5\.1\.3|421 4\.7\.0) /, recipient);
        if (reply.code === 421) break;
      }
      await client.command("RSET").catch(() => undefined);
    }
    assert.equal(
      (await sendMail(system.smtpPort, testMail({ to: ["b@ours.example.com"] }))).code,
      250,
    );
    await waitFor(() => sink.accepted.length === 1);
  });

  it("serves no HTTP on an address that is not loopback without tokens", async () => {
    await using redis = await startRedis();
    for (const [name, parameter] of [
      ["pickup", "pickup_listen"],
      ["showq", "showq_listen"],
    ] as const) {
      await assert.rejects(
        startPostmq({
          redis,
          services: [name],
          parametersOf: () => ({ [parameter]: "0.0.0.0:0" }),
        }),
        /did not start[^]*(?:api_tokens|token)/,
      );
    }
  });
});

describe("security 14: secrets", () => {
  it("are found in no log, no metric and no job, whatever happens", async () => {
    const secrets = [
      "canary-redis-0815",
      "canary-token-0815",
      "canary-body-0815",
      "canary-auth-0815",
    ];
    await using sink = await FakeSmtpServer.start({
      decide: ({ stage, recipient }) =>
        stage === "rcpt" && recipient.startsWith("nobody")
          ? { reply: "550 5.1.1 no such user" }
          : undefined,
    });
    await using redis = await startRedis({ password: "canary-redis-0815" });
    await using system = await startPostmq({
      redis,
      parameters: { relayhost: sink.relayhost, sweep_interval: "1s" },
    });
    for (const to of ["b@dest.example.com", "nobody@dest.example.com"]) {
      const mail = testMail({ to: [to], body: "canary-body-0815\r\n" });
      assert.equal((await sendMail(system.smtpPort, mail)).code, 250);
      assert.equal((await submitRaw(system.submissionUrl, mail)).status, 202);
    }
    const wrong = { mail_from: "a@src.example.com", rcpt_to: [], raw: "canary-body-0815" };
    await submitJson(system.submissionUrl, wrong);
    await fetch(`${system.submissionUrl}/v1/messages`, {
      method: "POST",
      headers: { authorization: "Bearer canary-token-0815", "content-type": "application/json" },
      body: '{"raw": "canary-body-0815',
    });
    using client = await SmtpClient.open(system.smtpPort);
    const plain = Buffer.from("\0user\0canary-auth-0815").toString("base64");
    await client.command(`AUTH PLAIN ${plain}`);
    // Four deliveries and two reports.
    await waitFor(() => sink.accepted.length >= 4, {
      describe: () => `all mail\n${system.lastLines()}`,
    });
    await redis.kill9();
    await sendMail(system.smtpPort, testMail()).catch(() => undefined);
    const mailq = await system.command("mailq");
    await redis.restart();
    await waitFor(async () => (await sendMail(system.smtpPort, testMail())).code === 250, {
      everyMs: 200,
    });
    const metrics = await Promise.all(
      (["pickup", "smtpd", "cleanup", "qmgr", "smtp-delivery", "bounce", "showq"] as const).map(
        async (name) => await (await fetch(`${system.metricsUrl(name)}/metrics`)).text(),
      ),
    );
    const jobs = await redis.cli(
      "EVAL",
      `local all = {}
       for _, key in ipairs(redis.call('KEYS', '*')) do
         if redis.call('TYPE', key).ok == 'hash' and not string.match(key, ':[cm]:') then
           all[#all + 1] = table.concat(redis.call('HGETALL', key), ' ')
         end
       end
       return table.concat(all, ' ')`,
      "0",
    );
    const shown = [system.logs, mailq.stdout, mailq.stderr, jobs, ...metrics].join("\n");
    assert.ok(system.logs.includes("status=sent"));
    for (const secret of [...secrets, plain]) {
      const at = shown.indexOf(secret);
      assert.equal(at, -1, `${secret} stands in: ${shown.slice(Math.max(0, at - 200), at + 100)}`);
    }
  });
});
