import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { readEhloReply } from "./ehlo-reply.ts";

const host = "mx[192.0.2.1]";
const read = (lines: readonly string[], discards: readonly string[] = []) => {
  const raw = lines.map((line, at) => `250${at === lines.length - 1 ? " " : "-"}${line}`);
  return readEhloReply(raw.join("\n"), discards, host);
};

describe("an EHLO reply", () => {
  it("names the server and what it offers", () => {
    const { name, offers, notices } = read(["mx.example.net at your service", "SIZE 100", "dsn"]);
    assert.equal(name, "mx.example.net");
    assert.deepEqual(
      [...offers],
      [
        ["SIZE", "100"],
        ["DSN", ""],
      ],
    );
    assert.deepEqual(notices, []);
  });

  it("D20 is read without the keywords that are to be discarded, and that is told", () => {
    const lines = ["mx", "PIPELINING", "STARTTLS", "DSN"];
    const { offers, notices } = read(lines, ["pipelining", "starttls", "chunking"]);
    assert.deepEqual([...offers.keys()], ["DSN"]);
    assert.deepEqual(notices, ["discarding EHLO keywords: PIPELINING STARTTLS"]);
    assert.deepEqual(read(lines, ["dsn", "silent-discard"]).notices, []);
  });

  it("takes SMTPUTF8 for 8BITMIME too, as Postfix does", () => {
    const { offers, notices } = read(["mx", "SMTPUTF8"]);
    assert.ok(offers.has("8BITMIME"));
    assert.deepEqual(notices, [`host ${host} offers SMTPUTF8 support, but not 8BITMIME`]);
    assert.deepEqual(read(["mx", "SMTPUTF8", "8BITMIME"]).notices, []);
  });

  it("may be empty, or of one line", () => {
    assert.equal(readEhloReply("250", [], host).name, "");
    assert.equal(readEhloReply("250 mx", [], host).name, "mx");
    assert.equal(readEhloReply("250 mx", [], host).offers.size, 0);
  });
});
