import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { seededRandom } from "@postmq/testing";

import { OpenMultiparts } from "./open-multiparts.ts";

describe("OpenMultiparts", () => {
  it("finds the innermost one whose boundary a line begins with, for random boundaries", () => {
    const random = seededRandom(2046);
    const text = (longest: number) =>
      `--${Array.from({ length: random.between(1, longest) }, () => random.pick(["a", "b", "\u00e9"])).join("")}`;
    for (let run = 0; run < 200; run++) {
      const multiparts = new OpenMultiparts<{ readonly boundary: string }>();
      const open: { readonly boundary: string }[] = [];
      for (let step = 0; step < 60; step++) {
        if (random.next() < 0.4) {
          const multipart = { boundary: text(4) };
          multiparts.push(multipart);
          open.push(multipart);
        }
        const line = text(8);
        const found = multiparts.dividedBy(Buffer.from(line, "latin1"));
        const detail = `seed ${random.seed}, run ${run}, ${line} in ${open.map(({ boundary }) => boundary).join()}`;
        const wanted = open.findLast(({ boundary }) => line.startsWith(boundary));
        assert.equal(found, wanted, detail);
        if (found === undefined || random.next() < 0.5) continue;
        const stays = random.next() < 0.5;
        multiparts.closeDownTo(found, { stays });
        open.length = open.indexOf(found) + (stays ? 1 : 0);
        assert.equal(multiparts.depth, open.length, detail);
      }
    }
  });
});
