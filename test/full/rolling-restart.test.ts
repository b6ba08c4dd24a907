/** Fault 8 at full length. */
import { describe, it } from "node:test";

import { restartInTurn } from "../support/rolling-restart.ts";

describe("fault 8: 20 rolling restarts under load", () => {
  it("lose nothing, repeat nothing, and every service exits 0", async () => {
    await restartInTurn(20);
  });
});
