import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { withStore } from "./with-store.ts";

describe("withStore", () => {
  it("opens stores on an instance of their own and closes them", async () => {
    await withStore(async ({ store, openAnother, instanceName }) => {
      assert.equal(store.instanceName, instanceName);
      assert.equal(store.health().durability, "always");
      const other = await openAnother({ processName: "other" });
      assert.deepEqual(
        (await other.looking().depths()).map(({ messages }) => messages),
        [0, 0, 0, 0, 0, 0],
      );
    });
  });
});
