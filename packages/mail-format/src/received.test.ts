import { describe, it } from "node:test";
import assert from "node:assert/strict";
import { makeQueueId } from "@postmq/vocabulary";
import { formatMailDate } from "./mail-date.ts";
import { formatReceived } from "./received.ts";

const atMs = Date.UTC(2026, 10, 21, 17, 12, 24);
const id = makeQueueId(atMs * 1000, 7);
const trace = { by: "mx.example.com", mailName: "postmq", id, atMs };
const client = {
  name: "h.example.net",
  address: "192.0.2.9",
  helo: "helo.example.net",
  protocol: "ESMTP",
};

describe("formatReceived", () => {
  it("names client, protocol, queue id and the only recipient (V9)", () => {
    assert.equal(
      formatReceived({ ...trace, client, soleRecipient: "a@b" }),
      "Received: from helo.example.net (h.example.net [192.0.2.9])\r\n" +
        `\tby mx.example.com (postmq) with ESMTP id ${id}\r\n\tfor <a@b>; ${formatMailDate(atMs)}\r\n`,
    );
  });

  it("names nobody when there are several recipients (V9)", () => {
    assert.doesNotMatch(formatReceived({ ...trace, client }), /for </);
  });

  it("names the user id of a local submission", () => {
    assert.equal(
      formatReceived({ ...trace, client: { name: "", address: "", protocol: "", uid: 1000 } }),
      `Received: by mx.example.com (postmq, from userid 1000)\r\n\tid ${id}; ${formatMailDate(atMs)}\r\n`,
    );
  });

  it("marks an IPv6 address", () => {
    assert.match(
      formatReceived({ ...trace, client: { ...client, address: "::1" } }),
      /\[IPv6:::1\]/,
    );
  });

  it("lets no client write lines of its own into the header (security 3)", () => {
    const helo = "x\r\nBcc: victim@example.com\0 (<>";
    const header = formatReceived({
      ...trace,
      client: { ...client, helo },
      soleRecipient: "a\r\nb@c",
    });
    assert.match(header, /^Received: from x\?\?Bcc:\?victim\?example\.com\?\?\?\?\? \(h\.example/);
    assert.match(header, /for <a\?\?b@c>/);
    assert.ok(
      header
        .split("\r\n")
        .slice(1, -1)
        .every((line) => line.startsWith("\t")),
    );
  });
});
