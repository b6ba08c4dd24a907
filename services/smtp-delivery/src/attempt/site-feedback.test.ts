/** What a request tells of a site that its next hop shares with others (destination_grouping = mx). */
import assert from "node:assert/strict";
import { describe, it } from "node:test";

import type { MailResolver } from "@postmq/dns";
import { FakeSmtpServer } from "@postmq/testing";

import { request, startWorker } from "../delivery.test-support.ts";

const env = { POSTMQ_SMTP_ALLOW_PRIVATE_ADDRESSES: "yes" };

/** Every domain is served by this host, which is here. */
function servedBy(host: string): MailResolver {
  return {
    mx: async () => ({ kind: "found", records: [{ host, preference: 10 }] }),
    addresses: async (_, family) =>
      family === 4 ? { kind: "found", records: ["127.0.0.1"] } : { kind: "noData" },
    txt: async () => ({ kind: "noData" }),
  };
}

const noDns: MailResolver = {
  mx: async () => ({ kind: "tryAgain" }),
  addresses: async () => ({ kind: "tryAgain" }),
  txt: async () => ({ kind: "tryAgain" }),
};

async function feedback(resolver: MailResolver, behaviour: "serves" | "refuses", site?: string) {
  await using server = await FakeSmtpServer.start({
    decide: ({ stage }) =>
      behaviour === "refuses" && stage === "greeting" ? { reply: "421 4.3.2 no" } : undefined,
  });
  await using test = await startWorker(env, { resolver });
  const nexthop = `far.example:${server.port}`;
  const destination = { transport: "smtp", nexthop };
  const counted =
    site === undefined ? destination : { ...destination, site: `${site}:${server.port}` };
  await test.serve(request(1, nexthop, { destination: counted }));
  return test.delivering.onlyEnd.feedback.kind;
}

describe("feedback about a site", () => {
  const site = "mx:mx.example.net";

  it("S26 is of the servers that serve it", async () => {
    assert.equal(await feedback(servedBy("mx.example.net"), "refuses", site), "trouble");
    assert.equal(await feedback(servedBy("MX.example.net"), "serves", site), "good");
  });

  it("S26 is none when other servers were asked, since DNS says something else by now", async () => {
    assert.equal(await feedback(servedBy("mx.evil.example"), "refuses", site), "none");
    assert.equal(await feedback(servedBy("mx.evil.example"), "serves", site), "none");
    assert.equal(await feedback(servedBy("mx.evil.example"), "refuses"), "trouble");
  });

  it("S26 is none when the next hop's own DNS is in trouble", async () => {
    assert.equal(await feedback(noDns, "serves", site), "none");
    assert.equal(await feedback(noDns, "serves"), "trouble");
  });
});
