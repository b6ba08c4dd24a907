import assert from "node:assert/strict";
import { describe, it } from "node:test";

import type { Envelope } from "@postmq/vocabulary";

import {
  isFitForCommand,
  mailCommand,
  parseOffers,
  rcptCommand,
  sizeLimit,
} from "./mail-commands.ts";

const envelope: Envelope = { sender: "a@example.com", origin: "smtp" };
const all = parseOffers(["PIPELINING", "SIZE 1000", "8BITMIME", "DSN", "SMTPUTF8"]);
const none = parseOffers([]);
const facts = { envelope, sizeBytes: 42, needsSmtputf8: false };

describe("envelope commands", () => {
  it("D15 says SIZE where it is offered", () => {
    assert.equal(mailCommand(facts, all), "MAIL FROM:<a@example.com> SIZE=42");
    assert.equal(mailCommand(facts, none), "MAIL FROM:<a@example.com>");
  });

  it("D15 sends the null sender", () => {
    const bounce = { ...facts, envelope: { ...envelope, sender: "" } };
    assert.equal(mailCommand(bounce, none), "MAIL FROM:<>");
  });

  it("D15 says BODY when the encoding is known and 8BITMIME offered", () => {
    const eight = { ...facts, envelope: { ...envelope, encoding: "8bit" as const } };
    const seven = { ...facts, envelope: { ...envelope, encoding: "7bit" as const } };
    assert.match(mailCommand(eight, all), / BODY=8BITMIME/);
    assert.match(mailCommand(seven, all), / BODY=7BIT/);
    assert.doesNotMatch(mailCommand(eight, none), /BODY/);
  });

  it("D15 passes ENVID, RET, NOTIFY and ORCPT on where DSN is offered, per recipient", () => {
    const dsn = { ...facts, envelope: { ...envelope, envid: "a b+c", ret: "HDRS" as const } };
    assert.match(mailCommand(dsn, all), / ENVID=a\+20b\+2Bc RET=HDRS$/);
    const recipient = {
      address: "b@example.net",
      orcpt: "rfc822;o=p@example.org",
      notify: ["SUCCESS", "DELAY"] as const,
    };
    assert.equal(
      rcptCommand(recipient, all),
      "RCPT TO:<b@example.net> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;o+3Dp@example.org",
    );
    assert.equal(rcptCommand(recipient, none), "RCPT TO:<b@example.net>");
    assert.equal(
      rcptCommand({ address: "b@example.net", original: "alias@example.net" }, all),
      "RCPT TO:<b@example.net> ORCPT=rfc822;alias@example.net",
    );
    assert.equal(rcptCommand({ address: "b@example.net" }, all), "RCPT TO:<b@example.net>");
  });

  it("D18 asks for SMTPUTF8 when it is needed and offered", () => {
    assert.match(mailCommand({ ...facts, needsSmtputf8: true }, all), / SMTPUTF8$/);
    assert.doesNotMatch(mailCommand({ ...facts, needsSmtputf8: true }, none), /SMTPUTF8/);
  });

  it("D16 knows the server's size limit, 0 and nonsense meaning none", () => {
    assert.equal(sizeLimit(all), 1000);
    for (const line of ["SIZE 0", "SIZE", "SIZE x", "SIZE -5"])
      assert.equal(sizeLimit(parseOffers([line])), undefined, line);
  });

  it("security 3: leaves out an ORCPT whose type would become commands or parameters", () => {
    for (const type of [
      "x\r\nRCPT TO:<v@x>\r\nNOOP ",
      "rfc822\n",
      "rfc822 NOTIFY=NEVER",
      "",
      "\u00e9",
    ]) {
      const recipient = { address: "b@example.net", orcpt: `${type};y@example.net` };
      assert.equal(rcptCommand(recipient, all), "RCPT TO:<b@example.net>", JSON.stringify(type));
    }
    assert.equal(
      rcptCommand({ address: "b@example.net", orcpt: "X-odd1;y\r\nz" }, all),
      "RCPT TO:<b@example.net> ORCPT=X-odd1;y+0D+0Az",
    );
    assert.equal(
      rcptCommand({ address: "b@example.net", orcpt: "y@example.net" }, all),
      "RCPT TO:<b@example.net> ORCPT=rfc822;y@example.net",
    );
  });

  it("security 3: finds addresses that would become commands or parameters", () => {
    for (const bad of [
      "a@b\r\nRCPT TO:<v@x>",
      "a\0@b",
      "a@b> SIZE=0",
      "a b@c",
      "a@b\u2028",
      "<a@b>",
    ])
      assert.equal(isFitForCommand(bad), false, JSON.stringify(bad));
    for (const good of ["a@b.example", '"a b"@c.example', '"x>y"@c.example', "ü@c.example", ""])
      assert.equal(isFitForCommand(good), true, good);
  });
});
