import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { loadParameters } from "@postmq/config";
import { FakeDnsServer } from "@postmq/testing";
import { openSites } from "./open-sites.ts";

function open(env: Readonly<Record<string, string>>) {
  return openSites(loadParameters({ env: { POSTMQ_MYHOSTNAME: "mx.here.example", ...env } }));
}

describe("openSites", () => {
  it("S16 looks MX hosts up for transports that speak SMTP", async () => {
    await using dns = await FakeDnsServer.start({
      zone: {
        "a.test": ["MX 10 mx1.test", "MX 20 mx2.test"],
        "b.test": ["MX 5 MX2.test", "MX 5 mx1.test"],
      },
    });
    const sites = open({
      POSTMQ_DESTINATION_GROUPING: "mx",
      POSTMQ_DNS_SERVERS: `127.0.0.1:${dns.port}`,
      POSTMQ_TRANSPORTS: "smtp, in:lmtp",
    });
    const [a, b] = ["a.test", "b.test"].map((nexthop) => ({ transport: "smtp", nexthop }));
    assert.ok(sites !== undefined && a !== undefined && b !== undefined);
    await sites.prepare([a, b]);
    assert.match(sites.siteOf(a) ?? "", /^mx:mx1\.test~[0-9a-f]{32}$/);
    assert.equal(sites.siteOf(b), sites.siteOf(a));
    assert.equal(sites.prepare([{ transport: "in", nexthop: "c.test" }]), undefined);
    assert.deepEqual(
      dns.questions.map(({ name, type }) => `${type} ${name}`),
      ["MX a.test", "MX b.test"],
    );
  });

  it("is undefined by default, and without DNS", () => {
    assert.equal(open({}), undefined);
    const env = { POSTMQ_DESTINATION_GROUPING: "mx", POSTMQ_SMTP_DNS_SUPPORT_LEVEL: "disabled" };
    assert.equal(open(env), undefined);
  });
});
