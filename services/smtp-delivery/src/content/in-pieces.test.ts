import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { loadParameters } from "@postmq/config";

import { inPieces } from "./in-pieces.ts";
import { openOutgoingContent } from "./open-outgoing-content.ts";

/** How often others had their turn while this went on. */
async function turnsDuring(work: Promise<unknown>): Promise<number> {
  let turns = 0;
  let isOver = false;
  const count = () => {
    turns += 1;
    if (!isOver) setImmediate(count);
  };
  setImmediate(count);
  await work;
  isOver = true;
  return turns;
}

const emptyLines = Buffer.from(`Subject: x\r\n\r\n\u00e9\r\n${"\r\n".repeat(500_000)}`);
const stored = {
  contentId: "c",
  encoding: undefined,
  whole: emptyLines,
  read: () => assert.fail("it is whole"),
};

async function open() {
  const env = { POSTMQ_MYHOSTNAME: "mx.example.com" };
  const parameters = loadParameters({ env, service: "smtp-delivery" });
  return await openOutgoingContent(parameters, (text) => assert.fail(text));
}

describe("work on long content", () => {
  it("D17 leaves others their turn while content is looked at and converted", async () => {
    const content = await open();
    const turns = await turnsDuring(content.prepare(stored, new Map(), () => {}) ?? assert.fail());
    assert.ok(turns > 10, `${turns} turns`);
  });

  it("D17 leaves others their turn while converted content is read", async () => {
    const content = await open();
    const chunks = { ...stored, whole: undefined };
    const read = async function* () {
      yield emptyLines;
    };
    const mail = await content.prepare({ ...chunks, read }, new Map(), () => {});
    assert.ok(mail?.kind === "changed" && mail.whole === undefined);
    const turns = await turnsDuring(Array.fromAsync(mail.read()));
    assert.ok(turns > 2, `${turns} turns`);
  });

  it("D18 leaves others their turn while headers are looked for", async () => {
    const content = await open();
    const turns = await turnsDuring(content.hasUtf8Headers(stored));
    assert.ok(turns > 2, `${turns} turns`);
  });

  it("meets no turn for small content", async () => {
    const work = Array.fromAsync(inPieces([Buffer.from("Subject: x\r\n\r\ny\r\n")]));
    assert.ok((await turnsDuring(work)) <= 1);
  });
});
