/** Where mail goes by its sender, by transport_maps, and where it ends without a server. */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";

import {
  FakeSmtpServer,
  sendMail,
  SmtpClient,
  startPostmq,
  testIdOf,
  testMail,
  waitFor,
} from "@postmq/testing";
import type { PostmqSystem } from "@postmq/testing";

import { deliveryLines } from "../support/delivery-log.ts";
import type { DeliveryLine } from "../support/delivery-log.ts";

describe("routing over real processes", () => {
  /** Of all mail, of the shop's, and one that speaks LMTP. */
  let relay: FakeSmtpServer;
  let shopRelay: FakeSmtpServer;
  let mailboxes: FakeSmtpServer;
  let system: PostmqSystem;

  before(async () => {
    relay = await FakeSmtpServer.start();
    shopRelay = await FakeSmtpServer.start();
    mailboxes = await FakeSmtpServer.start({ protocol: "lmtp" });
    const maps = [
      "{drop.test = discard:not wanted}",
      `{box.test = lmtp:[127.0.0.1]:${mailboxes.port}}`,
    ];
    system = await startPostmq({
      parameters: {
        myhostname: "mail.here.test",
        relayhost: relay.relayhost,
        sender_dependent_relayhost_maps: `inline:{{@shop.test = ${shopRelay.relayhost}}, {vip@shop.test = DUNNO}}`,
        transport_maps: `inline:{${maps.join(", ")}}`,
      },
    });
  });

  after(async () => {
    assert.deepEqual(await system.stop(), []);
    await system[Symbol.asyncDispose]();
    await Promise.all([relay, shopRelay, mailboxes].map((one) => one[Symbol.asyncDispose]()));
  });

  async function send(from: string, to: string): Promise<string> {
    const mail = testMail({ from, to: [to] });
    assert.equal((await sendMail(system.smtpPort, mail)).code, 250);
    return mail.id;
  }

  function arrival(server: FakeSmtpServer, id: string): Promise<unknown> {
    return waitFor(() => server.messages.find(({ content }) => testIdOf(content) === id), {
      describe: () => `the message\n${system.lastLines()}`,
    });
  }

  function lineFor(domain: string): Promise<DeliveryLine> {
    return waitFor(() => deliveryLines(system.logs, domain)[0], {
      describe: () => `a delivery line for ${domain}\n${system.lastLines()}`,
    });
  }

  it("R22 goes to the relay host of its sender, else to relayhost", async () => {
    await arrival(shopRelay, await send("order@shop.test", "a@far.test"));
    await arrival(relay, await send("vip@shop.test", "a@far.test"));
    await arrival(relay, await send("else@other.test", "a@far.test"));
    assert.equal(shopRelay.messages.length, 1);
  });

  it("speaks LMTP where the transport does", async () => {
    await arrival(mailboxes, await send("s@other.test", "user@box.test"));
    assert.equal((await lineFor("box.test")).status, "sent");
  });

  it("S18 ends at discard, and is logged as sent", async () => {
    await send("s@other.test", "a@drop.test");
    const line = await lineFor("drop.test");
    assert.deepEqual([line.status, line.text], ["sent", "not wanted"]);
  });

  it("S18 D31 reports what it discarded to who asked for it", async () => {
    using client = await SmtpClient.open(system.smtpPort);
    await client.command("EHLO client.test");
    await client.command("MAIL FROM:<asker@ask.test>");
    await client.command("RCPT TO:<b@drop.test> NOTIFY=SUCCESS");
    await client.command("DATA");
    assert.equal((await client.command("Subject: x\r\n\r\nText.\r\n.")).code, 250);
    const report = await waitFor(
      () => relay.messages.find(({ recipients }) => recipients.includes("asker@ask.test")),
      { describe: () => `the report\n${system.lastLines()}` },
    );
    assert.equal(report.sender, "");
    assert.match(report.content.toString(), /^Action: delivered\r\nStatus: 2\.0\.0/m);
  });

  it("D28 ends at our own double-bounce address", async () => {
    await send("s@other.test", "double-bounce@mail.here.test");
    const line = await lineFor("mail.here.test");
    assert.deepEqual(
      [line.status, line.text],
      ["sent", "undeliverable postmaster notification discarded"],
    );
  });
});
