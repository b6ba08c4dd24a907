import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { FakeDnsServer, freePort, startDns } from "@postmq/testing";
import type { FakeDnsReply } from "@postmq/testing";

import { mailResolver } from "./mail-resolver.ts";

const hourMs = 3_600_000;
/** Where an answer is waited for in vain. */
const settings = { timeoutMs: 200 };
const aRecord = (ttl: number, name = "a.test") =>
  ({ type: "A", name, ttl, data: "192.0.2.1" }) as const;

describe("what DNS says", () => {
  it("tells MX hosts with their preferences, addresses and texts", async () => {
    await using dns = await startDns({
      "example.com": ["MX 20 B.example.com", "MX 10 a.example.com", `TXT ${"x".repeat(300)}`],
      "a.example.com": ["A 192.0.2.1", "A 192.0.2.2", "AAAA 2001:db8::1"],
    });
    assert.deepEqual(await dns.resolver.mx("Example.COM"), {
      kind: "found",
      records: [
        { host: "B.example.com", preference: 20 },
        { host: "a.example.com", preference: 10 },
      ],
    });
    assert.deepEqual(await dns.resolver.addresses("a.example.com", 4), {
      kind: "found",
      records: ["192.0.2.1", "192.0.2.2"],
    });
    assert.deepEqual(await dns.resolver.addresses("a.example.com", 6), {
      kind: "found",
      records: ["2001:db8::1"],
    });
    assert.deepEqual(await dns.resolver.txt("example.com"), {
      kind: "found",
      records: ["x".repeat(300)],
    });
  });

  it("tells a null MX as an empty host", async () => {
    await using dns = await startDns({ "example.com": ["MX 0 ."] });
    assert.deepEqual(await dns.resolver.mx("example.com"), {
      kind: "found",
      records: [{ host: "", preference: 0 }],
    });
  });

  it("tells what does not exist from what has no such record", async () => {
    await using dns = await startDns({ "example.com": ["A 192.0.2.1"] });
    assert.deepEqual(await dns.resolver.mx("example.com"), { kind: "noData" });
    assert.deepEqual(await dns.resolver.mx("other.example"), { kind: "notFound" });
  });

  it("36: trouble of the server, its refusal and its silence are all reasons to ask again", async () => {
    await using dns = await startDns(
      {
        "a.test": "SERVFAIL",
        "b.test": "REFUSED",
        "c.test": "NOTIMP",
        "d.test": "silence",
      },
      { settings },
    );
    for (const name of ["a.test", "b.test", "c.test", "d.test"]) {
      assert.deepEqual(await dns.resolver.mx(name), { kind: "tryAgain" }, name);
      assert.equal(dns.server.count(name), 2, name);
    }
  });

  it("a question that every server calls wrong has failed, and is not repeated", async () => {
    await using dns = await startDns({ "a.test": "FORMERR" });
    assert.deepEqual(await dns.resolver.mx("a.test"), { kind: "failed" });
    assert.equal(dns.server.count("a.test"), 1);
  });

  it("36: nobody at the server's port is a reason to ask again", async () => {
    const resolver = mailResolver({
      servers: [{ address: "127.0.0.1", port: await freePort() }],
      timeoutMs: 60_000,
      hostLookup: ["dns"],
      nowMs: () => 0,
    });
    assert.deepEqual(await resolver.mx("example.com"), { kind: "tryAgain" });
  });

  it("asks the next server when one is silent, in trouble, or makes no sense", async () => {
    const nonsense: FakeDnsReply = { rewrite: (reply) => reply.subarray(0, 14) };
    await using silent = await FakeDnsServer.start({ decide: () => ({ isSilent: true }) });
    await using refusing = await FakeDnsServer.start({ decide: () => ({ code: "REFUSED" }) });
    await using garbled = await FakeDnsServer.start({ decide: () => nonsense });
    const before = [silent, refusing, garbled];
    await using dns = await startDns({ "example.com": ["MX 10 a.test"] }, { before, settings });
    assert.equal((await dns.resolver.mx("example.com")).kind, "found");
    assert.deepEqual(
      before.map((server) => server.count("example.com")),
      [1, 1, 1],
    );
  });

  it("asks again over TCP for what does not fit", async () => {
    const hosts = Array.from({ length: 60 }, (_, at) => `A 192.0.2.${at + 1}`);
    await using dns = await startDns({ "many.test": hosts });
    const answer = await dns.resolver.addresses("many.test", 4);
    assert.equal(answer.kind === "found" ? answer.records.length : 0, 60);
    assert.deepEqual(
      dns.server.questions.map(({ transport }) => transport),
      ["udp", "tcp"],
    );
  });
});

describe("what is believed", () => {
  it("RFC 5452: a reply with another id is not ours", async () => {
    const otherId = (reply: Buffer) => {
      reply.writeUInt16BE(reply.readUInt16BE(0) ^ 1, 0);
      return reply;
    };
    await using dns = await startDns(
      {},
      { decide: () => ({ answers: [aRecord(60)], rewrite: otherId }), settings },
    );
    assert.deepEqual(await dns.resolver.addresses("a.test", 4), { kind: "tryAgain" });
  });

  it("RFC 5452: a reply to another question is not ours; case means nothing", async () => {
    const renamed = (name: string) => (reply: Buffer) =>
      Buffer.concat([reply.subarray(0, 13), Buffer.from(name), reply.subarray(14)]);
    await using dns = await startDns(
      {},
      {
        decide: ({ name }) => ({
          answers: [aRecord(60, name)],
          rewrite: renamed(name === "a.test" ? "x" : "B"),
        }),
        settings,
      },
    );
    assert.deepEqual(await dns.resolver.addresses("a.test", 4), { kind: "tryAgain" });
    assert.equal((await dns.resolver.addresses("b.test", 4)).kind, "found");
  });

  it("records of another name are none of this one", async () => {
    await using dns = await startDns(
      {},
      { decide: () => ({ answers: [aRecord(60, "victim.test")] }) },
    );
    assert.deepEqual(await dns.resolver.addresses("a.test", 4), { kind: "noData" });
  });

  it("MX hosts that are no names are left out; when all are, the answer is malformed", async () => {
    await using dns = await startDns({
      "some.test": ["MX 5 bad!host.test", "MX 10 a.test", "MX 20 127.0.0.1"],
      "all.test": ["MX 5 bad!host.test"],
    });
    assert.deepEqual(await dns.resolver.mx("some.test"), {
      kind: "found",
      records: [{ host: "a.test", preference: 10 }],
    });
    assert.deepEqual(await dns.resolver.mx("all.test"), { kind: "malformed" });
  });

  it("follows aliases within a reply and from one reply to the next", async () => {
    await using dns = await startDns(
      { "a.test": ["CNAME b.test"], "b.test": ["CNAME c.test"], "c.test": ["A 192.0.2.3"] },
      {
        decide: ({ name }) =>
          name === "far.test"
            ? { answers: [{ type: "CNAME", name: "far.test", ttl: 60, data: "a.test" }] }
            : undefined,
      },
    );
    for (const name of ["a.test", "far.test"]) {
      assert.deepEqual(
        await dns.resolver.addresses(name, 4),
        { kind: "found", records: ["192.0.2.3"] },
        name,
      );
    }
    assert.equal(dns.server.questions.length, 3);
  });

  it("aliases that lead on for ever are given up", async () => {
    const next = (name: string) => `${Number(name.split(".")[0]) + 1}.test`;
    await using dns = await startDns(
      {},
      {
        decide: ({ name }) => ({ answers: [{ type: "CNAME", name, ttl: 60, data: next(name) }] }),
      },
    );
    assert.deepEqual(await dns.resolver.addresses("1.test", 4), { kind: "malformed" });
    assert.equal(dns.server.questions.length, 10);
    await using circle = await startDns({ "a.test": ["CNAME b.test"], "b.test": ["CNAME a.test"] });
    assert.notEqual((await circle.resolver.addresses("a.test", 4)).kind, "found");
    assert.ok(circle.server.questions.length <= 10);
  });
});

describe("what is not asked", () => {
  it("RFC 6761: localhost is this machine", async () => {
    await using dns = await startDns({});
    for (const name of ["localhost", "LocalHost.", "a.localhost"]) {
      assert.deepEqual(await dns.resolver.mx(name), { kind: "noData" });
      const [four, six] = [
        await dns.resolver.addresses(name, 4),
        await dns.resolver.addresses(name, 6),
      ];
      assert.deepEqual(four, { kind: "found", records: ["127.0.0.1"] });
      assert.deepEqual(six, { kind: "found", records: ["::1"] });
    }
    assert.deepEqual(dns.server.questions, []);
  });

  it("names that are none", async () => {
    await using dns = await startDns({});
    for (const name of ["", "a..b", "a b.test", "192.0.2.1", "-a.test", `${"a".repeat(64)}.test`]) {
      assert.deepEqual(await dns.resolver.mx(name), { kind: "malformed" }, name);
    }
    assert.deepEqual(dns.server.questions, []);
  });

  // Only getaddrinfo(3) reads 0x7f.1 as an address: it stands for a host of /etc/hosts.
  const known = { kind: "found", records: ["127.0.0.1"] };

  it("smtp_host_lookup native: addresses come from the system; MX still from DNS", async () => {
    await using dns = await startDns({}, { settings: { hostLookup: ["native"] } });
    assert.deepEqual(await dns.resolver.addresses("0x7f.1", 4), known);
    assert.deepEqual(dns.server.questions, []);
    assert.deepEqual(await dns.resolver.mx("0x7f.1"), { kind: "notFound" });
  });

  it("smtp_host_lookup dns, native: the system is asked for what DNS does not know", async () => {
    const both = { settings: { hostLookup: ["dns", "native"] } } as const;
    await using dns = await startDns({ "a.test": ["A 192.0.2.1"], "b.test": "SERVFAIL" }, both);
    assert.deepEqual(await dns.resolver.addresses("a.test", 4), {
      kind: "found",
      records: ["192.0.2.1"],
    });
    assert.deepEqual(await dns.resolver.addresses("b.test", 4), { kind: "tryAgain" });
    assert.deepEqual(await dns.resolver.addresses("0x7f.1", 4), known);
    assert.equal(dns.server.count("0x7f.1"), 1);
  });
});

describe("what is kept", () => {
  it("an answer for its time to live, MX too", async () => {
    await using dns = await startDns({ "a.test": ["300 MX 10 x.test", "60 MX 20 y.test"] });
    await dns.resolver.mx("a.test");
    dns.passMs(59_999);
    await dns.resolver.mx("A.test");
    assert.equal(dns.server.count("a.test"), 1);
    dns.passMs(1);
    await dns.resolver.mx("a.test");
    assert.equal(dns.server.count("a.test"), 2);
  });

  it("an answer reached by an alias for the shorter of both times", async () => {
    await using dns = await startDns({
      "a.test": ["30 CNAME b.test"],
      "b.test": ["300 A 192.0.2.1"],
    });
    await dns.resolver.addresses("a.test", 4);
    dns.passMs(30_000);
    await dns.resolver.addresses("a.test", 4);
    assert.equal(dns.server.count("a.test"), 2);
  });

  it("an answer that took two questions for the shorter of both times", async () => {
    const alias = { type: "CNAME", name: "far.test", ttl: 300, data: "a.test" } as const;
    await using dns = await startDns(
      { "a.test": ["30 A 192.0.2.1"] },
      { decide: ({ name }) => (name === "far.test" ? { answers: [alias] } : undefined) },
    );
    await dns.resolver.addresses("far.test", 4);
    dns.passMs(30_000);
    await dns.resolver.addresses("far.test", 4);
    assert.equal(dns.server.count("far.test"), 2);
  });

  it("nothing with a time to live of 0, or one that is no time (RFC 2181 §8)", async () => {
    for (const ttl of [0, 0x80_00_00_00]) {
      await using dns = await startDns({}, { decide: () => ({ answers: [aRecord(ttl)] }) });
      await dns.resolver.addresses("a.test", 4);
      await dns.resolver.addresses("a.test", 4);
      assert.equal(dns.server.count("a.test"), 2);
    }
  });

  it("nothing for more than a day", async () => {
    await using dns = await startDns({ "a.test": ["999999 A 192.0.2.1"] });
    await dns.resolver.addresses("a.test", 4);
    dns.passMs(24 * hourMs - 1);
    await dns.resolver.addresses("a.test", 4);
    assert.equal(dns.server.count("a.test"), 1);
    dns.passMs(1);
    await dns.resolver.addresses("a.test", 4);
    assert.equal(dns.server.count("a.test"), 2);
  });

  it("RFC 2308: absence for as long as the zone says, an hour at most, and not at all if it says nothing", async () => {
    const times: Readonly<Record<string, FakeDnsReply>> = {
      "short.test": { code: "NXDOMAIN", negativeTtlSeconds: 20 },
      "none.test": { code: "NXDOMAIN" },
      "long.test": { negativeTtlSeconds: 99_999 },
    };
    await using dns = await startDns({}, { decide: ({ name }) => times[name] });
    const askAll = async () => {
      for (const name of Object.keys(times)) await dns.resolver.mx(name);
      return Object.keys(times).map((name) => dns.server.count(name));
    };
    assert.deepEqual(await askAll(), [1, 1, 1]);
    dns.passMs(19_999);
    assert.deepEqual(await askAll(), [1, 2, 1]);
    dns.passMs(1);
    assert.deepEqual(await askAll(), [2, 3, 1]);
    dns.passMs(hourMs);
    assert.deepEqual(await askAll(), [3, 4, 2]);
  });

  it("trouble for a second", async () => {
    await using dns = await startDns({ "a.test": "SERVFAIL" });
    await dns.resolver.mx("a.test");
    dns.passMs(999);
    await dns.resolver.mx("a.test");
    assert.equal(dns.server.count("a.test"), 2, "two rounds");
    dns.server.zone = { "a.test": ["MX 10 x.test"] };
    dns.passMs(1);
    assert.equal((await dns.resolver.mx("a.test")).kind, "found");
  });

  it("one question for all who ask at once", async () => {
    await using dns = await startDns({ "a.test": ["0 MX 10 x.test"] });
    const answers = await Promise.all(Array.from({ length: 20 }, () => dns.resolver.mx("a.test")));
    assert.deepEqual(new Set(answers.map(({ kind }) => kind)), new Set(["found"]));
    assert.equal(dns.server.count("a.test"), 1);
  });
});
