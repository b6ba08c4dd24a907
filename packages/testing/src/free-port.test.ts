import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { run } from "./child-process.ts";
import { freePort } from "./free-port.ts";

describe("freePort", () => {
  it("gives no port twice, to this process or another", async () => {
    const mine = await Promise.all(Array.from({ length: 300 }, () => freePort()));
    assert.equal(new Set(mine).size, mine.length);
    const module = JSON.stringify(new URL("./free-port.ts", import.meta.url).href);
    const other = await run(process.execPath, [
      "--input-type=module",
      "--eval",
      `import { freePort } from ${module};
       for (let n = 0; n < 800; n += 1) console.log(await freePort());`,
    ]);
    assert.equal(other.code, 0, other.stderr);
    const theirs = new Set(other.stdout.trim().split("\n").map(Number));
    assert.equal(theirs.size, 800);
    assert.ok(mine.every((port) => !theirs.has(port)));
  });
});
