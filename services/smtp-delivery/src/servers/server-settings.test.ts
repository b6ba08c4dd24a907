import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { loadParameters } from "@postmq/config";
import { openResolver } from "@postmq/dns";
import { isPostmqError } from "@postmq/vocabulary";

import { openPlanSettings } from "./server-settings.ts";

function settings(env: Readonly<Record<string, string>>) {
  const parameters = loadParameters({ env, service: "smtp-delivery" });
  return openPlanSettings(parameters, openResolver(parameters));
}

describe("openPlanSettings", () => {
  it("D1 smtp_dns_support_level: empty and enabled are the same; dnssec is refused with its reason", async () => {
    const looksUp = async (level: string) =>
      (await settings({ POSTMQ_SMTP_DNS_SUPPORT_LEVEL: level })).find.looksUpMx;
    assert.deepEqual(await Promise.all(["", "enabled", "disabled"].map(looksUp)), [
      true,
      true,
      false,
    ]);
    await assert.rejects(looksUp("dnssec"), /dnssec is not supported/);
  });

  it("D1 refuses a fallback relay that is none", async () => {
    await assert.rejects(settings({ POSTMQ_SMTP_FALLBACK_RELAY: "relay.example:99999" }), (error) =>
      isPostmqError(error, "PMQ_CONFIG_INVALID"),
    );
  });

  it("refuses name servers that are no addresses", async () => {
    for (const servers of ["ns.example", "192.0.2.1:0", "192.0.2.1:70000", "[192.0.2.1"]) {
      await assert.rejects(async () => settings({ POSTMQ_DNS_SERVERS: servers }), /dns_servers/);
    }
    await settings({ POSTMQ_DNS_SERVERS: "192.0.2.1, 192.0.2.1:53 2001:db8::1 [2001:db8::1]:53" });
  });
});
