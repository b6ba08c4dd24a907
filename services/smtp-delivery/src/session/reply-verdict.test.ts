import assert from "node:assert/strict";
import { describe, it } from "node:test";

import {
  brokenReason,
  endsReuse,
  readReply,
  refusalOf,
  sentStatus,
  turnedAway,
} from "./reply-verdict.ts";

const host = "mx.example.com[192.0.2.1]";

describe("reply verdicts", () => {
  it("D7 uses the enhanced code of the reply when its class fits", () => {
    assert.deepEqual(refusalOf(readReply("550 5.1.1 no such user"), host, "rcpt"), {
      isPermanent: true,
      status: "5.1.1",
      reason: `host ${host} said: 550 5.1.1 no such user (in reply to RCPT TO command)`,
    });
    assert.equal(refusalOf(readReply("450 5.1.1 odd"), host, "rcpt").status, "4.0.0");
    assert.equal(refusalOf(readReply("550 no"), host, "mail").status, "5.0.0");
    assert.equal(sentStatus(readReply("250 2.6.0 queued")), "2.6.0");
    assert.equal(sentStatus(readReply("250 queued")), "2.0.0");
  });

  it("D7 calls what is neither 4xx nor 5xx a protocol error, 5.5.0", () => {
    for (const odd of ["354 go on", "299 x"]) {
      const refusal = refusalOf(readReply(odd), host, "mail");
      assert.equal(refusal.isPermanent, true);
      assert.equal(refusal.status, "5.5.0");
      assert.match(refusal.reason, /^Protocol error: host /);
    }
  });

  it("D7 bounces nothing for what is no reply at all", () => {
    for (const noise of ["banana", "250spam", "2500 x", "600 x", ""]) {
      const refusal = refusalOf(readReply(noise), host, "dot");
      assert.equal(refusal.isPermanent, false);
      assert.equal(refusal.status, "4.5.0");
      assert.match(refusal.reason, /^Protocol error: host /);
    }
  });

  it("D7 joins lines with spaces and shows nothing that a terminal obeys", () => {
    const reply = readReply("550-5.7.1 first\n550 5.7.1 se\x1b[31mcond\x07");
    assert.equal(reply.text, "550-5.7.1 first 550 5.7.1 se?[31mcond?");
    assert.equal(reply.status, "5.7.1");
    assert.doesNotMatch(readReply("\x1b]0;x\x07").text, /\p{Cc}/u);
  });

  it("D8 takes 552 for permanent", () => {
    assert.equal(refusalOf(readReply("552 5.2.2 over quota"), host, "rcpt").isPermanent, true);
  });

  it("D9 ends reuse after protocol errors", () => {
    const ending = ["199 x", "354 x", "500 x", "501 x", "503 x", "509 x", "555 x", "rubbish"];
    assert.deepEqual(
      ending.filter((text) => !endsReuse(readReply(text))),
      [],
    );
    for (const text of ["450 x", "421 x", "550 x", "554 x", "510 x"])
      assert.equal(endsReuse(readReply(text)), false, text);
  });

  it("§8 tells in Postfix's words where a conversation broke off", () => {
    assert.equal(
      brokenReason("lost", host, "rcpt"),
      `lost connection with ${host} while sending RCPT TO`,
    );
    assert.equal(
      brokenReason("timedOut", host, "dot"),
      `conversation with ${host} timed out while sending end of data -- message may be sent more than once`,
    );
  });

  it("§2 makes a greeting of 5xx temporary when it is to be skipped", () => {
    const reply = readReply("554 5.7.1 go away");
    assert.deepEqual(turnedAway(reply, host, false), {
      isPermanent: false,
      status: "4.7.1",
      reason: `host ${host} refused to talk to me: 554 5.7.1 go away`,
    });
    assert.equal(turnedAway(reply, host, true).status, "5.7.1");
  });
});
