/** P10: SIGTERM drains. */
import { describe, it } from "node:test";

import { restartInTurn } from "../support/rolling-restart.ts";

describe("P10 a rolling restart under load", () => {
  it("loses nothing, repeats nothing, and every service exits 0", async () => {
    await restartInTurn(1);
  });
});
