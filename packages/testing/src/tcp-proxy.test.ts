import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { FakeSmtpServer } from "./fake-smtp-server.ts";
import { SmtpClient } from "./smtp-client.ts";
import { TcpProxy } from "./tcp-proxy.ts";
import { waitFor } from "./wait-for.ts";

describe("TcpProxy", () => {
  it("passes bytes, holds them while paused, cuts and refuses", async () => {
    await using server = await FakeSmtpServer.start();
    await using proxy = await TcpProxy.start(server.port);
    using client = await SmtpClient.open(proxy.port);
    proxy.pause();
    let hasAnswered = false;
    const answer = client.command("NOOP").then((reply) => {
      hasAnswered = true;
      return reply;
    });
    using other = await SmtpClient.connect(server.port);
    assert.equal((await other.reply()).code, 220);
    assert.equal(hasAnswered, false);
    proxy.resume();
    assert.equal((await answer).code, 250);
    const ended = assert.rejects(client.reply(), /ended/);
    proxy.cut();
    await ended;
    proxy.refuse(true);
    await assert.rejects(SmtpClient.open(proxy.port));
  });

  it("lets one connection hang at a text, and the others go on", async () => {
    await using server = await FakeSmtpServer.start();
    await using proxy = await TcpProxy.start(server.port);
    using client = await SmtpClient.open(proxy.port);
    using other = await SmtpClient.open(proxy.port);
    const hanging = proxy.hangAt("RSET");
    assert.equal((await client.command("NOOP")).code, 250);
    client.send("RSET\r\n");
    await hanging;
    client.send("NOOP\r\n");
    assert.equal((await other.command("RSET")).code, 250);
    assert.equal((await other.command("NOOP")).code, 250);
    client[Symbol.dispose]();
    await waitFor(() => proxy.openConnections === 1);
  });

  it("leaves the client half open", async () => {
    await using server = await FakeSmtpServer.start();
    await using proxy = await TcpProxy.start(server.port);
    using client = await SmtpClient.open(proxy.port);
    proxy.halfOpen();
    await waitFor(() => server.openConnections === 0);
    client.send("NOOP\r\n");
    assert.equal(proxy.openConnections, 1);
  });
});
