import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { lookupSender } from "./sender-maps.ts";

function lookup(sender: string, entries: Readonly<Record<string, string>>) {
  const asked: string[] = [];
  const troubles: string[] = [];
  const result = lookupSender(sender, {
    table: {
      lookup: (key) => {
        asked.push(key);
        return entries[key];
      },
    },
    parameterName: "sender_dependent_relayhost_maps",
    recipientDelimiter: "+",
    myorigin: "here.example",
    local: new Set(["box.example"]),
    onTrouble: (text) => troubles.push(text),
  });
  return { result, asked, troubles };
}

describe("lookupSender", () => {
  it("R22 tries user+ext@domain, user@domain and @domain, in lower case", () => {
    assert.deepEqual(lookup("Joe+List@Far.Example", {}).asked, [
      "joe+list@far.example",
      "joe@far.example",
      "@far.example",
    ]);
    assert.equal(lookup("joe@far.example", { "@far.example": "[gw]" }).result, "[gw]");
  });

  it("R22 tries the bare user too where the domain is one's own", () => {
    const keys = ["joe@box.example", "joe", "@box.example"];
    assert.deepEqual(lookup("joe@box.example", {}).asked, keys);
    assert.deepEqual(lookup("joe", {}).asked, ["joe@here.example", "joe", "@here.example"]);
  });

  it("R22 looks the null sender up as <>", () => {
    assert.deepEqual(lookup("", { "<>": "[gw]" }), {
      result: "[gw]",
      asked: ["<>"],
      troubles: [],
    });
  });

  it("R22 ends the search with DUNNO, in any case", () => {
    const found = lookup("a@far.example", { "a@far.example": "dunno", "@far.example": "[gw]" });
    assert.equal(found.result, undefined);
    assert.deepEqual(found.asked, ["a@far.example"]);
  });

  it("R22 ignores an empty result, and says so", () => {
    const { result, troubles } = lookup("a@far.example", { "a@far.example": " " });
    assert.equal(result, undefined);
    assert.deepEqual(troubles, [
      "sender_dependent_relayhost_maps: ignoring null lookup result for a@far.example",
    ]);
  });
});
