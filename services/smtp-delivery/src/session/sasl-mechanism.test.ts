import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { chooseMechanism } from "./sasl-mechanism.ts";
import type { SaslProtection, SaslRules } from "./sasl-mechanism.ts";

const strict = ["noplaintext", "noanonymous"];
const rules: SaslRules = {
  options: { plain: strict, tls: strict, verified: ["noanonymous"] },
  filter: [],
};

const choose = (
  offered: string,
  changes: Partial<SaslRules> = {},
  protection: SaslProtection = "verified",
) => chooseMechanism(offered, { ...rules, ...changes }, protection);

describe("the choice of a SASL mechanism", () => {
  it("takes the strongest that is offered, in any case and order", () => {
    assert.equal(choose("login plain cram-md5 XOAUTH2"), "CRAM-MD5");
    assert.equal(choose("LOGIN PLAIN"), "PLAIN");
    assert.equal(choose("XOAUTH2 LOGIN"), "LOGIN");
    assert.equal(choose("XOAUTH2"), "XOAUTH2");
  });

  it("has none where the server offers only what we don't speak", () => {
    assert.equal(choose("GSSAPI NTLM SCRAM-SHA-256"), undefined);
    assert.equal(choose(""), undefined);
    assert.equal(choose("PLAINER"), undefined);
  });

  it("D22 says no plain password where noplaintext holds, by the connection's protection", () => {
    for (const protection of ["plain", "tls"] as const) {
      assert.equal(choose("PLAIN LOGIN XOAUTH2", {}, protection), undefined);
      assert.equal(choose("PLAIN CRAM-MD5", {}, protection), "CRAM-MD5");
    }
    assert.equal(choose("PLAIN", {}, "verified"), "PLAIN");
  });

  it("has none that withstands what none of ours does", () => {
    for (const option of ["noactive", "nodictionary", "mutual_auth", "forward_secrecy"]) {
      const options = { plain: [option], tls: [option], verified: [option] };
      assert.equal(choose("CRAM-MD5 PLAIN LOGIN XOAUTH2", { options }), undefined);
    }
  });

  it("keeps to smtp_sasl_mechanism_filter: the first item that fits decides", () => {
    const offered = "CRAM-MD5 PLAIN LOGIN XOAUTH2";
    assert.equal(choose(offered, { filter: ["login"] }), "LOGIN");
    assert.equal(choose(offered, { filter: ["xoauth2", "gssapi"] }), "XOAUTH2");
    assert.equal(choose(offered, { filter: ["!cram-md5", "!plain", "static:rest"] }), "LOGIN");
    assert.equal(choose(offered, { filter: ["!cram-md5"] }), undefined);
  });
});
