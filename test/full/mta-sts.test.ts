/**
 * MTA-STS through the running daemons: records from a name server, policies from a web server with a certificate of its
 * own, mail servers that keep to them or do not.
 *
 * Mail that waits is tried again at least once, so that what must not go does not go later either. The web server has a
 * loopback address of this file's own, since policies are fetched from port 443, whatever a test would like.
 *
 * Source: RFC 8461 §3, §5; spec delivery.md §5, D22.
 */
import assert from "node:assert/strict";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:https";
import type { Server } from "node:https";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";

import {
  FakeDnsServer,
  FakeSmtpServer,
  sendMail,
  startPostmq,
  testCertificates,
  waitFor,
} from "@postmq/testing";
import type { FakeSmtpOptions, PostmqSystem } from "@postmq/testing";

const webAddress = "127.77.12.1";

/** A domain as its owner has set it up, and what mail for it must meet. */
type Plan = {
  readonly domain: string;
  /** Absent: it has no policy. */
  readonly policy?: { readonly mode: "enforce" | "testing"; readonly mx: string };
  /** By preference; all of them are at one server. */
  readonly mxHosts: readonly string[];
  readonly server: FakeSmtpOptions;
  /** Status and code of each attempt, those alike once; what arrives. */
  readonly expected: readonly [attempts: string, arrival: "nothing" | "over TLS" | "in plain"];
};

const good = (...names: readonly string[]) => ({ tls: testCertificates().make({ names }) });
const unknownIssuer = (...names: readonly string[]) => ({
  tls: testCertificates().make({ names, issuer: "self" }),
});

const plans: readonly Plan[] = [
  {
    domain: "listed.example",
    policy: { mode: "enforce", mx: "mx.listed.example" },
    mxHosts: ["mx.stranger.example", "mx.listed.example"],
    server: good("mx.listed.example"),
    expected: ["sent 2.0.0", "over TLS"],
  },
  {
    domain: "hijacked.example",
    policy: { mode: "enforce", mx: "mx.hijacked.example" },
    mxHosts: ["mx.stranger.example"],
    server: good("mx.stranger.example", "mx.hijacked.example"),
    expected: ["deferred 4.7.5", "nothing"],
  },
  {
    domain: "stripped.example",
    policy: { mode: "enforce", mx: "*.stripped.example" },
    mxHosts: ["mx.stripped.example"],
    server: {},
    expected: ["deferred 4.7.4", "nothing"],
  },
  {
    domain: "unproven.example",
    policy: { mode: "enforce", mx: "mx.unproven.example" },
    mxHosts: ["mx.unproven.example"],
    server: unknownIssuer("mx.unproven.example"),
    expected: ["deferred 4.7.5", "nothing"],
  },
  {
    domain: "trial.example",
    policy: { mode: "testing", mx: "mx.trial.example" },
    mxHosts: ["mx.stranger.example"],
    server: unknownIssuer("mx.stranger.example"),
    expected: ["sent 2.0.0", "over TLS"],
  },
  {
    domain: "without.example",
    mxHosts: ["mx.without.example"],
    server: good("mx.without.example"),
    expected: ["sent 2.0.0", "in plain"],
  },
];

let directory = "";
let web: Server | undefined;
let obstacle: string | undefined;
/** Hosts whose policy was asked for, in order. */
const asked: string[] = [];

before(async () => {
  directory = mkdtempSync(join(tmpdir(), "postmq-sts-"));
  writeFileSync(join(directory, "authority.pem"), testCertificates().authority);
  const names = plans.map(({ domain }) => `mta-sts.${domain}`);
  web = createServer(testCertificates().make({ names }), ({ headers, url }, response) => {
    const host = headers.host ?? "";
    asked.push(host);
    const { policy } = plans.find(({ domain }) => host === `mta-sts.${domain}`) ?? {};
    const isThere = policy !== undefined && url === "/.well-known/mta-sts.txt";
    response.writeHead(isThere ? 200 : 404, { "content-type": "text/plain" });
    response.end(policyText(policy));
  });
  web.on("error", (error) => (obstacle = error.message));
  web.listen(443, webAddress);
  await Promise.race([once(web, "listening"), once(web, "error")]).catch(() => {});
});
after(() => {
  web?.closeAllConnections();
  web?.close();
  rmSync(directory, { recursive: true });
});

function policyText(policy: Plan["policy"]): string {
  if (policy === undefined) return "";
  const { mode, mx } = policy;
  return `version: STSv1\r\nmode: ${mode}\r\nmx: ${mx}\r\nmax_age: 86400\r\n`;
}

type Site = Plan & { readonly sink: FakeSmtpServer };

/** Mail for a domain finds its port by transport_maps and its servers by MX. */
async function start(stack: AsyncDisposableStack, sites: readonly Site[]): Promise<PostmqSystem> {
  const entry = (name: string, ...records: readonly string[]) => [name, records] as const;
  const zone = sites.flatMap(({ domain, policy, mxHosts }) => [
    entry(domain, ...mxHosts.map((host, at) => `MX ${10 * (at + 1)} ${host}`)),
    ...mxHosts.map((host) => entry(host, "A 127.0.0.1")),
    entry(`mta-sts.${domain}`, `A ${webAddress}`),
    ...(policy === undefined ? [] : [entry(`_mta-sts.${domain}`, "TXT v=STSv1; id=1;")]),
  ]);
  const dns = stack.use(await FakeDnsServer.start({ zone: Object.fromEntries(zone) }));
  const maps = sites.map(({ domain, sink }) => `{${domain} = smtp:${domain}:${sink.port}}`);
  const authority = join(directory, "authority.pem");
  return stack.use(
    await startPostmq({
      services: ["smtpd", "qmgr", "smtp-delivery"],
      parameters: {
        dns_servers: dns.address,
        smtp_allow_private_addresses: "yes",
        transport_maps: `inline:{${maps.join(", ")}}`,
        smtp_tls_mta_sts: "yes",
        smtp_tls_CAfile: authority,
        smtp_tls_loglevel: "1",
        minimal_backoff_time: "1s",
        maximal_backoff_time: "1s",
        queue_run_delay: "1s",
      },
      // Whom policy hosts are trusted by is Node's affair.
      env: { NODE_EXTRA_CA_CERTS: authority },
    }),
  );
}

/** `status dsn` of each attempt for a domain. */
function attemptsFor({ logs }: PostmqSystem, { domain }: Plan): readonly string[] {
  return [...logs.matchAll(/ to=<[^>]*@([^>]*)>, .*dsn=([\d.]+), status=(\w+)/g)]
    .filter(([, at]) => at === domain)
    .map(([, , dsn = "", status = ""]) => `${status} ${dsn}`);
}

function outcomeOf(system: PostmqSystem, site: Site): Plan["expected"] {
  const attempts = [...new Set(attemptsFor(system, site))].join(", ");
  const [received, ...more] = site.sink.messages;
  assert.deepEqual(more, []);
  if (received === undefined) return [attempts, "nothing"];
  return [attempts, received.tls === undefined ? "in plain" : "over TLS"];
}

describe("MTA-STS", () => {
  it("D22 mail goes to hosts of the policy that prove their names, or waits; testing lets it go and says why", async (context) => {
    if (obstacle !== undefined) return context.skip(obstacle);
    await using stack = new AsyncDisposableStack();
    const sites = await Promise.all(
      plans.map(async (plan) => ({
        ...plan,
        sink: stack.use(await FakeSmtpServer.start(plan.server)),
      })),
    );
    const system = await start(stack, sites);
    for (const { domain } of sites) {
      const mail = { from: "s@src.example", to: [`r@${domain}`], content: "Subject: x\r\n\r\n" };
      assert.equal((await sendMail(system.smtpPort, mail)).code, 250);
    }
    const isSettled = (site: Site) => {
      const attempts = attemptsFor(system, site);
      return attempts.length >= 2 || attempts.some((attempt) => attempt.startsWith("sent"));
    };
    await waitFor(() => sites.every(isSettled), {
      describe: () => `two attempts, or one that sent\n${system.lastLines()}`,
    });
    for (const site of sites)
      assert.deepEqual(outcomeOf(system, site), site.expected, `${site.domain}\n${system.logs}`);
    const log = system.logs;
    assert.match(log, /Verified TLS connection established to mx\.listed\.example\[127\.0\.0\.1\]/);
    const [atListed] = sites;
    assert.equal(atListed?.sink.messages[0]?.tls?.servername, "mx.listed.example");
    // Nobody calls a host that the policy does not list.
    const [, hijacked] = sites;
    assert.equal(hijacked?.sink.totalConnections, 0);
    const trial = "MTA-STS policy of trial.example (testing): mx.stranger.example: ";
    assert.ok(log.includes(`${trial}not a host of the policy`), log);
    assert.ok(log.includes(`${trial}self-signed certificate`), log);
    const owners = plans.filter(({ policy }) => policy !== undefined);
    assert.deepEqual(
      asked.toSorted(),
      owners.map(({ domain }) => `mta-sts.${domain}`).toSorted(),
      "each policy is fetched once, however often its mail is tried",
    );
    assert.deepEqual(await system.stop(), []);
  });
});
