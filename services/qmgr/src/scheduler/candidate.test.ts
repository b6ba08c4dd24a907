import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { bestCandidate, canPayFor, mayBeOvertaken, payForCompany } from "./candidate.ts";
import { Job } from "./job.ts";
import { Peer } from "./peer.ts";
import { entry, message, rules } from "./scheduling.test-support.ts";

let orders = 0;

type Made = {
  readonly requests: number;
  readonly sent?: number;
  readonly earned?: number;
  readonly activeMs?: number;
  readonly mayStart?: boolean;
  readonly unread?: number;
};

function job(made: Made): Job {
  const { requests, sent = 0, earned = sent, activeMs = 0, mayStart = true, unread = 0 } = made;
  const of = message({ activeMs }, { totalRecipients: requests + unread, nextRecipient: requests });
  orders += 1;
  const one = new Job(of, [orders]);
  Object.assign(one, { read: requests, selected: sent, earned });
  const peer = new Peer({ message: of, queueName: "smtp:a", job: one, site: { mayStart } });
  for (let n = sent; n < requests; n += 1) peer.push(entry("a", of));
  one.peers.set("smtp:a", peer);
  return one;
}

describe("mayBeOvertaken", () => {
  it("S21 (a) a job that has earned something and is big: three slots of five requests", () => {
    assert.equal(mayBeOvertaken(job({ requests: 15, sent: 1 }), rules), true);
    assert.equal(mayBeOvertaken(job({ requests: 14, sent: 1 }), rules), false);
    assert.equal(mayBeOvertaken(job({ requests: 15, sent: 0 }), rules), false);
    assert.equal(mayBeOvertaken(job({ requests: 15, sent: 5, earned: -1 }), rules), false);
  });

  it("S21 (a) counts recipients that are not read yet", () => {
    assert.equal(mayBeOvertaken(job({ requests: 5, sent: 1, unread: 10 }), rules), true);
    assert.equal(mayBeOvertaken(job({ requests: 5, sent: 1, unread: 9 }), rules), false);
  });

  it("S21 a slot cost of 0 or 1 turns it off, 2 does not", () => {
    const big = job({ requests: 100, sent: 50 });
    assert.equal(mayBeOvertaken(big, { ...rules, slotCost: 0 }), false);
    assert.equal(mayBeOvertaken(big, { ...rules, slotCost: 1 }), false);
    assert.equal(mayBeOvertaken(big, { ...rules, slotCost: 2 }), true);
  });

  it("S22 never one with a single recipient", () => {
    assert.equal(mayBeOvertaken(job({ requests: 1, earned: 100 }), rules), false);
    assert.equal(
      mayBeOvertaken(job({ requests: 1, earned: 100 }), { ...rules, minimumSlots: 1 }),
      false,
    );
  });
});

describe("bestCandidate", () => {
  it("S21 (b) one that needs no more than the slots the current job can still earn in all", () => {
    const current = job({ requests: 50, sent: 10 });
    const fits = job({ requests: 10 });
    const large = job({ requests: 11 });
    assert.equal(bestCandidate(current, [current, large], rules, 0), undefined);
    assert.equal(bestCandidate(current, [current, large, fits], rules, 0), fits);
    const halfSent = job({ requests: 12, sent: 2 });
    assert.equal(bestCandidate(current, [current, halfSent], rules, 0), halfSent, "it has 10 left");
  });

  it("S21 takes the one with the most seconds in active for its requests", () => {
    const current = job({ requests: 100, sent: 10 });
    const old = job({ requests: 10, activeMs: 0 });
    const young = job({ requests: 2, activeMs: 8000 });
    // 11 s / 10 and 3 s / 2.
    assert.equal(bestCandidate(current, [current, old, young], rules, 10_000), young);
    // 21 s / 10 and 2 s / 2.
    const late = job({ requests: 2, activeMs: 19_000 });
    assert.equal(bestCandidate(current, [current, old, late], rules, 20_000), old);
  });

  it("S21 takes none that others have overtaken, none with nothing to send, and not itself", () => {
    const current = job({ requests: 100, sent: 10 });
    const overtaken = job({ requests: 5 });
    job({ requests: 1 }).overtake(overtaken, rules.slotCost);
    const sent = job({ requests: 3, sent: 3 });
    assert.equal(bestCandidate(current, [current, overtaken, sent], rules, 0), undefined);
  });

  it("S20 S21 takes no blocker", () => {
    const current = job({ requests: 100, sent: 10 });
    const blocked = job({ requests: 1, mayStart: false });
    const free = job({ requests: 9 });
    assert.equal(bestCandidate(current, [current, blocked, free], rules, 0), free);
  });
});

describe("canPayFor", () => {
  it("S21 (c) three slots lent and half of the price taken off: six requests at once, seven after a slot earned", () => {
    const current = (earned: number) => job({ requests: 100, sent: 1, earned });
    assert.equal(canPayFor(current(1), job({ requests: 6 }), rules), true);
    assert.equal(canPayFor(current(1), job({ requests: 7 }), rules), false);
    assert.equal(canPayFor(current(4), job({ requests: 7 }), rules), false);
    assert.equal(canPayFor(current(5), job({ requests: 8 }), rules), true);
    assert.equal(canPayFor(current(5), job({ requests: 9 }), rules), false);
  });

  it("S21 (c) without loan and discount it must have earned every request in full", () => {
    const strict = { ...rules, slotLoan: 0, slotDiscount: 0 };
    const current = (earned: number) => job({ requests: 100, sent: 1, earned });
    assert.equal(canPayFor(current(10), job({ requests: 2 }), strict), true);
    assert.equal(canPayFor(current(9), job({ requests: 2 }), strict), false);
  });
});

describe("payForCompany", () => {
  it("S21 a big job that has earned something pays the price of one request", () => {
    const current = job({ requests: 50, sent: 3 });
    assert.equal(payForCompany(current, rules), true);
    assert.equal(current.earned, 3 - 5);
    assert.equal(payForCompany(current, rules), false, "nothing is left");
    assert.equal(current.earned, 3 - 5);
  });

  it("S22 small ones, and those that have nothing to send, pay nothing", () => {
    const small = job({ requests: 14, earned: 0 });
    assert.equal(payForCompany(small, rules), true);
    const sent = job({ requests: 50, sent: 50, earned: 0 });
    assert.equal(payForCompany(sent, rules), true);
    assert.deepEqual([small.earned, sent.earned], [0, 0]);
    assert.equal(payForCompany(job({ requests: 50 }), { ...rules, slotCost: 0 }), true);
  });
});
