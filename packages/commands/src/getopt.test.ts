import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { CommandFailure } from "./command.ts";
import { getopt } from "./getopt.ts";

function shown(args: readonly string[], letters: string): string {
  const { options, operands } = getopt(args, letters);
  return [...options.map(({ letter, value }) => `${letter}=${value}`), ...operands].join(" ");
}

describe("getopt", () => {
  it("takes values attached and apart, and letters in one word", () => {
    assert.equal(shown(["-fa", "-f", "b", "-ti", "-tfc"], "f:ti"), "f=a f=b t= i= t= f=c");
  });

  it("takes an optional value only when it is attached", () => {
    assert.equal(shown(["-q", "30m", "-q15m"], "q::"), "q= q=15m 30m");
  });

  it("lets operands stand anywhere, and ends options at --", () => {
    assert.equal(shown(["a@b.c", "-t", "-", "--", "-t"], "t"), "t= a@b.c - -t");
  });

  it("takes an empty value", () => {
    assert.equal(shown(["-f", "", "x"], "f:"), "f= x");
  });

  it("refuses unknown letters and missing values with exit 64", () => {
    const isUsage = (error: unknown) => error instanceof CommandFailure && error.exitCode === 64;
    for (const args of [["-x"], ["-:"], ["-f"], ["--long"]]) {
      assert.throws(() => getopt(args, "f:t"), isUsage, args.join());
    }
  });
});
