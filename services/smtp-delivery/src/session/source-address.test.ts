import assert from "node:assert/strict";
import { createServer } from "node:net";
import { describe, it } from "node:test";

import { loadParameters } from "@postmq/config";

import { request, startWorker } from "../delivery.test-support.ts";
import { sourceAddresses } from "./source-address.ts";

/** A server that turns everybody away and remembers where they came from. */
async function startDoor() {
  const clients: (string | undefined)[] = [];
  const server = createServer((socket) => {
    clients.push(socket.remoteAddress);
    socket.on("error", () => {});
    socket.end("421 4.3.2 closed\r\n");
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  assert.ok(typeof address === "object" && address !== null);
  return {
    nexthop: `[127.0.0.1]:${address.port}`,
    clients,
    async [Symbol.asyncDispose]() {
      await new Promise<void>((resolve) => server.close(() => resolve()));
    },
  };
}

async function deliver(env: Readonly<Record<string, string>>, transport = "smtp") {
  await using door = await startDoor();
  await using test = await startWorker(env);
  const destination = { transport, nexthop: door.nexthop };
  await test.serve(request(1, door.nexthop, { destination }));
  const [outcome] = test.delivering.onlyEnd.outcomes;
  return { clients: door.clients, log: test.log, outcome };
}

describe("source addresses", () => {
  it("smtp_bind_address is where connections come from", async () => {
    const { clients } = await deliver({ POSTMQ_SMTP_BIND_ADDRESS: "127.0.0.2" });
    assert.deepEqual(clients, ["127.0.0.2"]);
  });

  it("<transport>_bind_address goes before smtp_bind_address", async () => {
    const env = { POSTMQ_SMTP_BIND_ADDRESS: "127.0.0.2", POSTMQ_SLOW_BIND_ADDRESS: "127.0.0.3" };
    assert.deepEqual((await deliver(env, "slow")).clients, ["127.0.0.3"]);
    assert.deepEqual((await deliver(env, "relay")).clients, ["127.0.0.2"]);
  });

  it("an address that this machine has not is passed over with a warning", async () => {
    const { clients, log } = await deliver({ POSTMQ_SMTP_BIND_ADDRESS: "192.0.2.1" });
    assert.deepEqual(clients, ["127.0.0.1"]);
    assert.match(log.join("\n"), /warning: .*bind 192\.0\.2\.1: Cannot assign requested address/);
  });

  it("smtp_bind_address_enforce defers instead", async () => {
    const { clients, outcome } = await deliver({
      POSTMQ_SMTP_BIND_ADDRESS: "192.0.2.1",
      POSTMQ_SMTP_BIND_ADDRESS_ENFORCE: "yes",
    });
    assert.deepEqual(clients, []);
    assert.equal(outcome?.kind, "deferred");
    assert.equal(outcome.status, "4.4.0");
    assert.equal(outcome.reason, "server configuration error");
  });

  it("smtp_bind_address6 is for IPv6 alone", () => {
    const parameters = loadParameters({
      env: { POSTMQ_SMTP_BIND_ADDRESS: "192.0.2.1", POSTMQ_SMTP_BIND_ADDRESS6: "[2001:db8::1]" },
    });
    const sourceFor = sourceAddresses(parameters);
    assert.equal(sourceFor("smtp", "192.0.2.9").address, "192.0.2.1");
    assert.equal(sourceFor("smtp", "2001:db8::9").address, "2001:db8::1");
  });
});
