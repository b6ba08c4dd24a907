import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, it } from "node:test";
import { inspect } from "node:util";

import { openLogins } from "./sasl-credentials.ts";
import type { LoginFacts, Logins } from "./sasl-credentials.ts";
import { Credentials } from "./sasl-exchange.ts";
import { testParameters } from "./session.test-support.ts";

const canary = "c4n4ry-s3cret";

async function logins(table: string, env: Readonly<Record<string, string>> = {}) {
  const parameters = testParameters({
    POSTMQ_SMTP_SASL_AUTH_ENABLE: "yes",
    POSTMQ_SMTP_SASL_PASSWORD_MAPS: table,
    ...env,
  });
  return await openLogins(parameters, () => {});
}

/** The user that PLAIN would name. */
function userFor(found: Logins | undefined, facts: Partial<LoginFacts>): string | undefined {
  const all = { sender: "", host: "mx.example.net", nexthop: "example.net", ...facts };
  return found?.find(all)?.credentials.start("PLAIN").initial?.split("\0")[1];
}

const table =
  "inline:{mx.example.net=host:1, example.net=domain:2, {[relay.example.net]:587 = port:3}, " +
  "a@example.com=sender:4, @example.com=senders:5}";

describe("SASL credentials", () => {
  it("are looked up by server name, then by the next hop as it is written", async () => {
    const found = await logins(table);
    assert.equal(userFor(found, {}), "host");
    assert.equal(userFor(found, { host: "MX.example.net" }), "host");
    assert.equal(userFor(found, { host: "mx2.example.net" }), "domain");
    const nexthop = "[relay.example.net]:587";
    assert.equal(userFor(found, { host: "relay.example.net", nexthop }), "port");
    const otherPort = { host: "relay.example.net", nexthop: "[relay.example.net]" };
    assert.equal(userFor(found, otherPort), undefined);
  });

  it("are looked up by sender first, with smtp_sender_dependent_authentication only", async () => {
    const sender = "a@example.com";
    assert.equal(userFor(await logins(table), { sender }), "host");
    const found = await logins(table, {
      POSTMQ_SMTP_SENDER_DEPENDENT_AUTHENTICATION: "yes",
      POSTMQ_RECIPIENT_DELIMITER: "+",
    });
    assert.equal(found?.dependsOnSender, true);
    assert.equal(userFor(found, { sender }), "sender");
    assert.equal(userFor(found, { sender: "a+list@example.com" }), "sender");
    assert.equal(userFor(found, { sender: "b@example.com" }), "senders");
    assert.equal(userFor(found, { sender: "b@example.org" }), "host");
    assert.equal(userFor(found, { sender: "" }), "host");
  });

  it("may have colons in the password, and none at all in the value", async () => {
    const start = async (value: string) => {
      const found = await logins(`static:{${value}}`);
      const login = found?.find({ sender: "", host: "h", nexthop: "n" });
      return login?.credentials.start("PLAIN").initial;
    };
    assert.equal(await start("joe:a:b:c"), "\0joe\0a:b:c");
    assert.equal(await start("joe"), "\0joe\0");
    assert.equal(await start(":x"), undefined);
  });

  it("are not there without smtp_sasl_auth_enable", async () => {
    assert.equal(await logins(table, { POSTMQ_SMTP_SASL_AUTH_ENABLE: "no" }), undefined);
  });

  it("D27 have a key that is equal for equal credentials only, and tells nothing", () => {
    const one = new Credentials("joe", canary);
    assert.equal(one.key, new Credentials("joe", canary).key);
    assert.notEqual(one.key, new Credentials("joe", "other").key);
    assert.notEqual(one.key, new Credentials("joe2", canary).key);
    assert.ok(!one.key.includes(canary));
  });

  it("never show the secret: not inspected, not as JSON, not in errors", async () => {
    const found = await logins(`static:{joe:${canary}}`);
    const login = found?.find({ sender: "", host: "h", nexthop: "n" });
    for (const shown of [inspect(login, { depth: 9, showHidden: true }), JSON.stringify(login)]) {
      assert.ok(!shown.includes(canary));
    }
    assert.ok(!inspect(found, { depth: 9, showHidden: true }).includes(canary));
    for (const broken of [
      `inline:{h=joe:${canary}`,
      `inline:{{h joe:${canary}}}`,
      `nil:${canary}`,
    ]) {
      await assert.rejects(
        async () => await logins(`${broken} static:{joe:${canary}}`),
        (error: unknown) => {
          assert.match(String(error), /smtp_sasl_password_maps/);
          assert.ok(!inspect(error, { depth: 9, showHidden: true }).includes(canary));
          return true;
        },
      );
    }
  });

  it("are read from a file, whose name may be told when it is not there", async () => {
    const directory = mkdtempSync(join(tmpdir(), "sasl-"));
    try {
      const file = join(directory, "passwd");
      await assert.rejects(async () => await logins(`hash:${file}`), /no such file/);
      writeFileSync(file, "[mx.example.net]:587   joe:x y\n");
      const found = await logins(`hash:${file}`);
      assert.equal(userFor(found, { nexthop: "[mx.example.net]:587" }), "joe");
    } finally {
      rmSync(directory, { recursive: true });
    }
  });

  it("need a table", async () => {
    await assert.rejects(async () => await logins(""), /a table is needed/);
  });
});

describe("SASL mechanisms as a client speaks them", () => {
  const credentials = new Credentials("tim", "tanstaaftanstaaf");

  it("PLAIN is RFC 4616's example", () => {
    assert.equal(credentials.start("PLAIN").initial, "\0tim\0tanstaaftanstaaf");
  });

  it("CRAM-MD5 is RFC 2195's example", () => {
    const { answer, initial } = credentials.start("CRAM-MD5");
    assert.equal(initial, undefined);
    assert.equal(
      answer("<1896.697170952@postoffice.reston.mci.net>"),
      "tim b913a602c7eda7a495b4e6e7334d3890",
    );
  });

  it("LOGIN says user and password in turn, and no more", () => {
    const { answer } = credentials.start("LOGIN");
    assert.deepEqual([answer(""), answer(""), answer("")], ["tim", "tanstaaftanstaaf", undefined]);
  });

  it("XOAUTH2 says the token, and nothing to the error that is told as a challenge", () => {
    const { initial, answer } = credentials.start("XOAUTH2");
    assert.equal(initial, "user=tim\u0001auth=Bearer tanstaaftanstaaf\u0001\u0001");
    assert.deepEqual([answer('{"status":"401"}'), answer("")], ["", undefined]);
  });
});
