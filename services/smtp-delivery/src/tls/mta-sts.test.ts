import assert from "node:assert/strict";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:https";
import type { Server } from "node:https";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, beforeEach, describe, it } from "node:test";
import type { TestContext } from "node:test";
import { getCACertificates, setDefaultCACertificates } from "node:tls";

import { FakeSmtpServer, testCertificates, waitFor } from "@postmq/testing";
import type { FakeSmtpOptions } from "@postmq/testing";
import * as mailauth from "mailauth/lib/mta-sts.js";

import { request, startWorker } from "../delivery.test-support.ts";
import { judged, openPolicies, shownVerdict, usable } from "./tls.test-support.ts";
import type { StsLibrary, StsResolver } from "./mta-sts.ts";

/** A loopback address of this file's own: policies are fetched from port 443, whatever a test would like. */
const webAddress = "127.77.11.1";
const dayMs = 86_400_000;

/** The domain example.com as its owner has set it up. */
let record: string | undefined;
let policyText = "";
let webStatus = 200;
let webRequests = 0;
let web: Server | undefined;
let obstacle: string | undefined;

const resolver: StsResolver = {
  txt: async (name) =>
    record !== undefined && name === "_mta-sts.example.com"
      ? { kind: "found", records: [record] }
      : { kind: "notFound" },
  addresses: async (host, family) =>
    host === "mta-sts.example.com" && family === 4
      ? { kind: "found", records: [webAddress] }
      : { kind: "noData" },
};

let directory = "";

function authorityFile(): string {
  const path = join(directory, "authority.pem");
  writeFileSync(path, testCertificates().authority);
  return path;
}

before(async () => {
  directory = mkdtempSync(join(tmpdir(), "postmq-sts-"));
  const certificate = testCertificates().make({ names: ["mta-sts.example.com"] });
  web = createServer(certificate, (_request, response) => {
    webRequests += 1;
    const headers = { "content-type": "text/plain", location: `https://${webAddress}/elsewhere` };
    response.writeHead(webStatus, headers).end(policyText);
  });
  web.on("error", (error) => (obstacle = error.message));
  web.listen(443, webAddress);
  await Promise.race([once(web, "listening"), once(web, "error")]).catch(() => {});
  setDefaultCACertificates([...getCACertificates("default"), testCertificates().authority]);
});
after(() => {
  rmSync(directory, { recursive: true });
  web?.closeAllConnections();
  web?.close();
});
beforeEach(() => {
  record = "v=STSv1; id=1;";
  policyText = policy("enforce");
  webStatus = 200;
  webRequests = 0;
});

function policy(mode: string, mx = ["mx.example.com", "*.backup.example"]): string {
  const lines = ["version: STSv1", `mode: ${mode}`, ...mx.map((one) => `mx: ${one}`)];
  return [...lines, "max_age: 86400", ""].join("\r\n");
}

/** Port 443 is not for everybody to listen on. */
function canServe(context: TestContext): boolean {
  if (obstacle !== undefined) context.skip(obstacle);
  return obstacle === undefined;
}

/** As smtp_tls_mta_sts sets it up, for one domain whose policy host is on this machine. */
async function open(env: Readonly<Record<string, string>> = {}, nowMs: () => number = Date.now) {
  const wanted = { smtp_tls_mta_sts: "yes", smtp_allow_private_addresses: "yes", ...env };
  return await openPolicies(wanted, { resolver, nowMs });
}

describe("an MTA-STS policy in mode enforce", () => {
  it("admits its own MX hosts only, and wants the certificate of the MX host's own name", async (context) => {
    if (!canServe(context)) return;
    const policies = await open({ smtp_tls_CAfile: authorityFile() });
    const found = usable(await policies.policyFor("example.com"));
    assert.equal(found.level, "secure");
    assert.equal(found.allowsHost("MX.example.com"), true);
    assert.equal(found.allowsHost("a.backup.example"), true);
    assert.equal(found.allowsHost("a.b.backup.example"), false);
    assert.equal(found.allowsHost("mx.evil.example"), false);
    const named = (name: string) => testCertificates().make({ names: [name] });
    const good = await judged(found, named("mx.example.com"));
    assert.equal(shownVerdict(good.verdict), "accepted Verified");
    assert.equal(good.facts?.servername, "mx.example.com");
    const other = await judged(found, named("a.backup.example"));
    assert.match(shownVerdict(other.verdict), /4\.7\.5 hostname mismatch/);
    const commonName = testCertificates().make({ commonName: "mx.example.com" });
    assert.match(shownVerdict((await judged(found, commonName)).verdict), /hostname mismatch/);
  });

  it("gives way to an entry of smtp_tls_policy_maps, and is not looked for where MX hosts are not", async (context) => {
    if (!canServe(context)) return;
    const policies = await open({ smtp_tls_policy_maps: "inline:{{example.com = may}}" });
    assert.equal(usable(await policies.policyFor("example.com")).level, "may");
    for (const nexthop of ["[example.com]", "[example.com]:587", "[192.0.2.1]", "localhost"])
      assert.equal(usable(await policies.policyFor(nexthop)).level, "none", nexthop);
    assert.equal(webRequests, 0);
  });

  it("is fetched once, and again only when its id has changed", async (context) => {
    if (!canServe(context)) return;
    let nowMs = Date.now();
    const policies = await open({}, () => nowMs);
    const [first] = await Promise.all([
      policies.policyFor("example.com"),
      policies.policyFor("EXAMPLE.com"),
      policies.policyFor("example.com"),
    ]);
    assert.equal(webRequests, 1);
    nowMs += 700_000;
    await policies.policyFor("example.com");
    policyText = policy("enforce", ["new.example.com"]);
    record = "v=STSv1; id=2;";
    nowMs += 700_000;
    // The look that finds it happens beside this mail.
    await policies.policyFor("example.com");
    await waitFor(async () =>
      usable(await policies.policyFor("example.com")).allowsHost("new.example.com"),
    );
    assert.equal(webRequests, 2);
    assert.notEqual(usable(await policies.policyFor("example.com")).key, usable(first).key);
  });

  it("goes on to count when it can't be had any more, until its max_age is over", async (context) => {
    if (!canServe(context)) return;
    let nowMs = Date.now();
    const policies = await open({}, () => nowMs);
    await policies.policyFor("example.com");
    record = undefined;
    nowMs += dayMs / 2;
    assert.equal(usable(await policies.policyFor("example.com")).level, "secure");
    nowMs += dayMs;
    assert.equal(usable(await policies.policyFor("example.com")).level, "none");
  });
});

describe("mail for a domain with an MTA-STS policy", () => {
  /** Mail by MX hosts in this order, all of them at one server. @returns its outcome, and how often the server was called */
  async function sent(mxHosts: readonly string[], server: FakeSmtpOptions) {
    await using peer = await FakeSmtpServer.start(server);
    await using test = await startWorker(
      {
        POSTMQ_SMTP_TLS_MTA_STS: "yes",
        POSTMQ_SMTP_ALLOW_PRIVATE_ADDRESSES: "yes",
        POSTMQ_SMTP_TLS_CAFILE: authorityFile(),
      },
      {
        resolver: {
          txt: resolver.txt,
          mx: async () => ({
            kind: "found",
            records: mxHosts.map((host, preference) => ({ host, preference })),
          }),
          addresses: async (host, family) => {
            if (host.startsWith("mta-sts.")) return await resolver.addresses(host, family);
            return family === 4 ? { kind: "found", records: ["127.0.0.1"] } : { kind: "noData" };
          },
        },
      },
    );
    await test.serve(request(1, `example.com:${peer.port}`));
    const { kind, status } = test.delivering.onlyOutcome;
    const names = peer.messages.map(({ tls }) => tls?.servername);
    return { outcome: `${kind} ${status}`, names, calls: peer.totalConnections };
  }
  const good = () => ({ tls: testCertificates().make({ names: ["mx.example.com"] }) });

  it("D22 goes to the hosts that the policy lists, and passes others by", async (context) => {
    if (!canServe(context)) return;
    assert.deepEqual(await sent(["mx.evil.example", "mx.example.com"], good()), {
      outcome: "sent 2.0.0",
      names: ["mx.example.com"],
      calls: 1,
    });
  });

  it("D22 waits where no listed host is left, has TLS, or proves its name", async (context) => {
    if (!canServe(context)) return;
    const nowhere = await sent(["mx.evil.example"], good());
    assert.deepEqual(nowhere, { outcome: "deferred 4.7.5", names: [], calls: 0 });
    assert.equal((await sent(["mx.example.com"], {})).outcome, "deferred 4.7.4");
    const self = testCertificates().make({ names: ["mx.example.com"], issuer: "self" });
    assert.equal((await sent(["mx.example.com"], { tls: self })).outcome, "deferred 4.7.5");
  });
});

describe("an MTA-STS policy in mode testing", () => {
  it("refuses nothing and logs what it would have refused", async (context) => {
    if (!canServe(context)) return;
    policyText = policy("testing");
    const policies = await open({ smtp_tls_CAfile: authorityFile() });
    const found = usable(await policies.policyFor("example.com"));
    assert.equal(found.level, "may");
    assert.equal(found.allowsHost("mx.evil.example"), true);
    const self = testCertificates().make({ names: ["mx.example.com"], issuer: "self" });
    const { verdict, facts } = await judged(found, self);
    assert.equal(shownVerdict(verdict), "accepted Untrusted");
    assert.equal(facts?.servername, "mx.example.com");
    assert.deepEqual(policies.infos, [
      "MTA-STS policy of example.com (testing): mx.evil.example: not a host of the policy",
      "MTA-STS policy of example.com (testing): mx.example.com: self-signed certificate",
    ]);
  });
});

describe("a domain without an MTA-STS policy that can be had", () => {
  it("has the level of smtp_tls_security_level", async (context) => {
    if (!canServe(context)) return;
    const levelOf = async () =>
      usable(await (await open({ smtp_tls_security_level: "may" })).policyFor("example.com")).level;
    policyText = policy("none");
    assert.equal(await levelOf(), "may");
    policyText = "version: STSv2";
    assert.equal(await levelOf(), "may");
    policyText = policy("enforce");
    for (const status of [404, 301, 302, 500]) {
      webStatus = status;
      assert.equal(await levelOf(), "may", String(status));
    }
    // No redirect was followed.
    assert.equal(webRequests, 6);
    webStatus = 200;
    policyText = `${policy("enforce")}${"#".repeat(100_000)}`;
    assert.equal(await levelOf(), "may");
    record = undefined;
    assert.equal(await levelOf(), "may");
    assert.equal(webRequests, 7);
  });

  it("includes one whose policy host is inside: nobody knocks there", async (context) => {
    if (!canServe(context)) return;
    const policies = await open({ smtp_allow_private_addresses: "no" });
    assert.equal(usable(await policies.policyFor("example.com")).level, "none");
    assert.equal(webRequests, 0);
    assert.match(policies.warnings.join(), /mta-sts\.example\.com has a private address/);
  });

  it("makes mail wait for a short while only, and is asked beside it", async () => {
    const late = Promise.withResolvers<Awaited<ReturnType<StsLibrary["getPolicy"]>>>();
    const library: StsLibrary = {
      getPolicy: () => late.promise,
      validateMx: (mxHost, found) => mailauth.validateMx(mxHost, found),
    };
    const policies = await openPolicies(
      { smtp_tls_mta_sts: "yes" },
      { stsLibrary: library, stsPatienceMs: 20 },
    );
    assert.equal(usable(await policies.policyFor("example.com")).level, "none");
    assert.match(policies.warnings.join(), /example\.com can't be had in time/);
    const expires = new Date(Date.now() + dayMs).toISOString();
    late.resolve({
      status: "found",
      policy: { id: "1", mode: "enforce", mx: ["mx.example.com"], expires },
    });
    await late.promise;
    assert.equal(usable(await policies.policyFor("example.com")).level, "secure");
  });
});
