import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { Candidates } from "./candidates.ts";
import { Job } from "./job.ts";
import { Peer } from "./peer.ts";
import { entry, message } from "./scheduling.test-support.ts";

type Site = { mayStart: boolean };

function job(site: Site, ...others: readonly Site[]): Job {
  const of = message();
  const one = new Job(of, [of.order]);
  for (const [at, each] of [site, ...others].entries()) {
    const queueName = `smtp:${at}`;
    const peer = new Peer({ message: of, queueName, job: one, site: each });
    peer.push(entry(String(at), of));
    one.peers.set(queueName, peer);
    one.read += 1;
  }
  return one;
}

function listed(...jobs: readonly Job[]): Candidates {
  const candidates = new Candidates();
  for (const one of jobs) candidates.add(one);
  return candidates;
}

describe("candidates", () => {
  const free: Site = { mayStart: true };

  it("are looked for in the order of their arrival, those that came again among them", () => {
    const [a, b, c] = [job(free), job(free), job(free)];
    const candidates = listed(a, b, c);
    candidates.delete(a);
    assert.deepEqual([...candidates], [b, c]);
    candidates.add(a);
    assert.deepEqual([...candidates], [a, b, c]);
  });

  it("S20 leave out what waits for one full destination, and take up the first of it when that has a place", () => {
    const site = { mayStart: false };
    const [first, second, third] = [job(site), job(site), job(free)];
    const candidates = listed(first, second, third);
    assert.deepEqual([...candidates], [third]);
    site.mayStart = true;
    candidates.freed(site);
    assert.deepEqual([...candidates], [first, third]);
    candidates.freed(site);
    assert.deepEqual([...candidates], [first, second, third]);
  });

  it("S20 look at what has other destinations each time", () => {
    const site = { mayStart: false };
    const both = job(site, free);
    assert.deepEqual([...listed(both)], [both]);
  });

  it("forget what has been sent, and take up what gets more requests, though it was set aside", () => {
    const site = { mayStart: false };
    const [sent, more] = [job(site), job(site)];
    const candidates = listed(sent, more);
    assert.deepEqual([...candidates], []);
    candidates.delete(sent);
    const other = new Peer({ message: more.message, queueName: "x", job: more, site: free });
    more.peers.set("x", other);
    candidates.add(more);
    assert.deepEqual([...candidates], [more]);
    site.mayStart = true;
    candidates.freed(site);
    assert.deepEqual([...candidates], [more]);
  });
});
