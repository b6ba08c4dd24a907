import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { waitFor } from "@postmq/testing";

import { Watchdog } from "./watchdog.ts";

describe("the watchdog", () => {
  it("S35: bites when the time is over, but not while outcomes wait for Redis", async () => {
    const bites: string[] = [];
    let asked = 0;
    let holdsFacts = true;
    const dog = new Watchdog({
      limitMs: 20,
      putOffMs: 5,
      holdsFacts: () => {
        asked += 1;
        return holdsFacts;
      },
      bite: (why) => bites.push(why),
    });
    using _watched = dog.watch(() => "the delivery of x");
    await waitFor(() => asked >= 3);
    assert.deepEqual(bites, []);
    holdsFacts = false;
    await waitFor(() => bites.length > 0);
    assert.deepEqual(bites, ["the delivery of x has taken longer than daemon_timeout"]);
  });

  it("S35: is content with a delivery that has ended, and minds those that go on", async () => {
    const bites: string[] = [];
    const dog = new Watchdog({
      limitMs: 30,
      holdsFacts: () => false,
      bite: (why) => bites.push(why),
    });
    const ended = dog.watch(() => "the first");
    using _stuck = dog.watch(() => "the second");
    ended[Symbol.dispose]();
    await waitFor(() => bites.length > 0);
    assert.deepEqual(bites, ["the second has taken longer than daemon_timeout"]);
  });
});
