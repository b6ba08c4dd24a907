import assert from "node:assert/strict";
import { describe, it } from "node:test";
import {
  BadValue,
  count,
  feedback,
  list,
  listen,
  share,
  size,
  splitList,
  time,
  weights,
} from "./parameter-kinds.ts";

const basics = { default: "", readBy: [], source: "", about: "" } as const;

describe("kinds of parameters", () => {
  it("reads times with units, and a bare number in the parameter's unit", () => {
    const { parse } = time({ ...basics, unit: "d" });
    const written = ["5", "90s", "3m", "2h", "1d", "1w"];
    const hourMs = 3_600_000;
    assert.deepEqual(
      written.map((text) => parse(text)),
      [5 * 24 * hourMs, 90_000, 180_000, 2 * hourMs, 24 * hourMs, 168 * hourMs],
    );
  });

  it("refuses times that are not one number and one unit", () => {
    const { parse } = time(basics);
    for (const text of ["", "1.5h", "1h30m", "-1s", "s", "10 s"])
      assert.throws(() => parse(text), BadValue);
  });

  it("reads sizes; units only where postmq's own parameters allow them", () => {
    assert.equal(size(basics).parse("10240000"), 10_240_000);
    assert.throws(() => size(basics).parse("10M"), BadValue);
    assert.equal(size({ ...basics, takesUnits: true }).parse("64M"), 64 * 1024 * 1024);
    assert.equal(size({ ...basics, takesUnits: true }).parse("1g"), 1024 ** 3);
  });

  it("keeps counts within their bounds", () => {
    const { parse } = count({ ...basics, min: 1, max: 3 });
    assert.equal(parse("3"), 3);
    assert.throws(() => parse("0"), /1 to 3/);
    assert.throws(() => parse("4"), /1 to 3/);
    assert.throws(() => parse("0x3"), BadValue);
  });

  it("reads shares from 0 to 1", () => {
    const { parse } = share(basics);
    assert.deepEqual(
      ["0", ".5", "0.85", "1"].map((text) => parse(text)),
      [0, 0.5, 0.85, 1],
    );
    assert.throws(() => parse("1.01"), BadValue);
    assert.throws(() => parse("80%"), BadValue);
  });

  it("splits lists at commas and white space, but not within braces", () => {
    assert.deepEqual(splitList(" a, b\tc,,inline:{x=1, {y = 2 3}} "), [
      "a",
      "b",
      "c",
      "inline:{x=1, {y = 2 3}}",
    ]);
    assert.throws(() => list(basics).parse("inline:{a=b"), /brace/);
    assert.throws(() => list(basics).parse("a}"), /brace/);
  });

  it("reads weights as key=number, numbers above 0", () => {
    const { parse } = weights(basics);
    assert.deepEqual(
      [...parse("a.example=2, b=c=.5 d=10")],
      [
        ["a.example", 2],
        ["b=c", 0.5],
        ["d", 10],
      ],
    );
    assert.equal(parse("").size, 0);
    for (const text of ["a", "a=", "=1", "a=0", "a=-1", "a=x", "a=1 a=2"])
      assert.throws(() => parse(text), BadValue, text);
  });

  it("S27 reads feedback as a number, n/m, n/concurrency or n/sqrt_concurrency", () => {
    const { parse } = feedback(basics);
    const fixed = (value: number) => ({ kind: "fixed", value });
    assert.deepEqual(parse("1"), fixed(1));
    assert.deepEqual(parse("0"), fixed(0));
    assert.deepEqual(parse("0.25"), fixed(0.25));
    assert.deepEqual(parse("1/8"), fixed(0.125));
    assert.deepEqual(parse("3 / 4"), fixed(0.75));
    assert.deepEqual(parse("1/concurrency"), { kind: "concurrency", numerator: 1 });
    assert.deepEqual(parse(".5 / sqrt_concurrency"), { kind: "sqrtConcurrency", numerator: 0.5 });
  });

  it("takes host:port with IPv6 in brackets, and empty for off", () => {
    const { parse } = listen(basics);
    for (const text of ["", "127.0.0.1:25", "[::1]:0", "localhost:65535"])
      assert.equal(parse(text), text);
    for (const text of ["::1:25", "25", "a:", "a:65536", "a:b"])
      assert.throws(() => parse(text), BadValue);
  });
});
