import assert from "node:assert/strict";
import { appendFile, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { it } from "node:test";

import { ExportFile } from "./export-file.ts";

it("an export cuts off a checkpoint that was torn behind a batch that is gone, and knows the new one", async () => {
  const directory = await mkdtemp(join(tmpdir(), "postmq-export-file-"));
  try {
    const path = join(directory, "out");
    const lines = `{"postmq_export":1}\n{"id":"A"}\n{"checkpoint":4}\n{"id":"B"}\n`;
    await writeFile(path, lines);
    for (const torn of ["", "{", `{"che`, `{"checkpoint":5}`, "\0".repeat(200_000)]) {
      await writeFile(path, lines);
      await appendFile(path, torn);
      for (let round = 0; round < 2; round += 1) {
        await using file = await ExportFile.reopen(path);
        assert.equal(await file.goOn(5), 5);
      }
      assert.equal(await readFile(path, "utf8"), `${lines}{"checkpoint":5}\n`);
    }
  } finally {
    await rm(directory, { recursive: true });
  }
});
