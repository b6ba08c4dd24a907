import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { startPostmq } from "./postmq-system.ts";

describe("startPostmq", () => {
  it("starts services as processes that can be killed, started again and drained one by one", async () => {
    await using system = await startPostmq({ services: ["smtpd", "cleanup"] });
    const first = system.service("smtpd");
    assert.ok(first.listening.some(({ address }) => address.endsWith(`:${system.smtpPort}`)));
    await first.kill9();
    assert.equal(first.isRunning, false);
    const second = await system.restart("smtpd");
    assert.notEqual(second.pid, first.pid);
    assert.equal((await fetch(`${system.metricsUrl("smtpd")}/readyz`)).status, 200);
    assert.deepEqual(await system.stop(), []);
  });

  it("says why a service did not start", async () => {
    await assert.rejects(
      startPostmq({ services: ["cleanup"], parameters: { no_such_parameter: "1" } }),
      /cleanup did not start:[^]*no_such_parameter/,
    );
  });
});
