import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { Job } from "./job.ts";
import { message } from "./scheduling.test-support.ts";

const slotCost = 5;

function job(order: number, requests: number): Job {
  const one = new Job(message({}, { totalRecipients: requests, nextRecipient: requests }), [order]);
  one.read = requests;
  return one;
}

function send(one: Job, times: number): void {
  for (let n = 0; n < times; n += 1) one.countSlot();
}

describe("a job", () => {
  it("S21 earns one for each request it sends", () => {
    const big = job(1, 50);
    send(big, 7);
    assert.equal(big.earned, 7);
    assert.equal(big.waiting, 43);
    assert.equal(big.mostRequests, 50);
  });

  it("S21 pays the price of every request of the one that overtakes it, at once", () => {
    const big = job(1, 50);
    const small = job(2, 4);
    send(big, 7);
    send(small, 1);
    small.overtake(big, slotCost);
    assert.equal(big.earned, 7 - 3 * slotCost);
    assert.deepEqual(small.key, [1, 1]);
  });

  it("S21 gets back what the other did not use", () => {
    const big = job(1, 50);
    const small = job(2, 4);
    small.overtake(big, slotCost);
    send(small, 1);
    small.leaveStack(slotCost);
    assert.equal(big.earned, -1 * slotCost);
    assert.equal(big.isOvertaken, false);
    assert.equal(small.parent, undefined);
  });

  it("S21 gets nothing back from one that used all, and pays for what it sent above that", () => {
    const big = job(1, 50);
    const small = job(2, 4);
    small.overtake(big, slotCost);
    send(small, 4);
    small.leaveStack(slotCost);
    assert.equal(big.earned, -4 * slotCost);
    const more = job(3, 2);
    more.overtake(big, slotCost);
    send(more, 3);
    more.leaveStack(slotCost);
    assert.equal(big.earned, -4 * slotCost - 3 * slotCost);
  });

  it("S21 may be overtaken in turn: each pays for the next one, and those above move down when one ends", () => {
    const [bottom, middle, top] = [job(1, 500), job(2, 50), job(3, 5)];
    middle.overtake(bottom, slotCost);
    top.overtake(middle, slotCost);
    assert.equal(bottom.earned, -50 * slotCost);
    assert.equal(middle.earned, -5 * slotCost);
    assert.deepEqual(top.key, [1, 1, 1]);
    send(middle, 50);
    middle.leaveStack(slotCost);
    assert.equal(top.parent, bottom);
    assert.equal(bottom.isOvertaken, true);
    assert.equal(bottom.earned, -50 * slotCost);
    send(top, 5);
    top.leaveStack(slotCost);
    assert.equal(bottom.earned, -50 * slotCost, "the last one was paid by the middle one");
  });
});
