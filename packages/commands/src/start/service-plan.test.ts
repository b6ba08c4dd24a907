import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { parseScale, planProcesses } from "./service-plan.ts";

describe("planProcesses", () => {
  it("gives each service the metrics port that DESIGN §7 names", () => {
    const planned = planProcesses(new Map(), "127.0.0.1:9151");
    assert.deepEqual(
      planned.map(({ name, metricsListen }) => `${name} ${metricsListen}`),
      [
        "pickup 127.0.0.1:9151",
        "smtpd 127.0.0.1:9152",
        "cleanup 127.0.0.1:9153",
        "showq 127.0.0.1:9154",
        "qmgr 127.0.0.1:9155",
        "smtp-delivery 127.0.0.1:9156",
        "bounce 127.0.0.1:9157",
      ],
    );
  });

  it("counts on from 9160 for further copies, of all services together", () => {
    const planned = planProcesses(parseScale(["smtp-delivery=3", "qmgr=2"]), "127.0.0.1:9151");
    assert.deepEqual(
      planned
        .filter(({ name }) => name.includes("/"))
        .map(({ name, metricsListen }) => [name, metricsListen]),
      [
        ["qmgr/2", "127.0.0.1:9160"],
        ["smtp-delivery/2", "127.0.0.1:9161"],
        ["smtp-delivery/3", "127.0.0.1:9162"],
      ],
    );
  });

  it("lets each copy find a free port, or serves no metrics, when told so", () => {
    const free = planProcesses(parseScale(["bounce=2"]), "[::1]:0");
    assert.deepEqual(new Set(free.map(({ metricsListen }) => metricsListen)), new Set(["[::1]:0"]));
    assert.deepEqual(
      new Set(planProcesses(new Map(), "").map((one) => one.metricsListen)),
      new Set([""]),
    );
  });

  it("leaves out a service that is scaled to none", () => {
    const planned = planProcesses(parseScale(["smtp-delivery=0"]), "");
    assert.equal(
      planned.some(({ service }) => service === "smtp-delivery"),
      false,
    );
    assert.equal(planned.length, 6);
  });
});

describe("parseScale", () => {
  it("refuses a service it does not know, naming those it knows", () => {
    assert.throws(() => parseScale(["smtp=4"]), /--scale smtp=4: no such service; known: pickup, /);
  });

  it("refuses a number of copies that makes no sense", () => {
    assert.throws(() => parseScale(["qmgr"]), /copies must be 0 to 64/);
    assert.throws(() => parseScale(["qmgr=-1"]), /copies must be 0 to 64/);
    assert.throws(() => parseScale(["qmgr=65"]), /copies must be 0 to 64/);
    assert.throws(() => parseScale(["qmgr=two"]), /copies must be 0 to 64/);
  });

  it("refuses a second copy of a service with a listener of its own", () => {
    assert.throws(() => parseScale(["smtpd=2"]), /smtpd has one listener/);
    assert.equal(parseScale(["smtpd=1"]).get("smtpd"), 1);
  });
});
