import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { rewriteHeaderAddresses } from "./header-addresses.ts";

const mark = (value: string) => rewriteHeaderAddresses(value, (address) => `!${address}!`);

describe("rewriteHeaderAddresses", () => {
  it("rewrites each address and keeps everything around it", () => {
    const cases: readonly (readonly [string, string])[] = [
      [" a@b\r\n", " !a@b!\r\n"],
      [" Bob Q. <a@b> (why, a@c)", " Bob Q. <!a@b!> (why, a@c)"],
      [' "x, y@z" <a@b>,\r\n\tc@d , e@f;', ' "x, y@z" <!a@b!>,\r\n\t!c@d! , !e@f!;'],
      [" friends: a@b, <c@d>; e@f", " friends: !a@b!, <!c@d!>; !e@f!"],
      [" undisclosed-recipients:;", " undisclosed-recipients:;"],
      [' "john doe"@b, u@[IPv6:::1]', ' !"john doe"@b!, !u@[IPv6:::1]!'],
      [" < a@b >, root", " < !a@b! >, !root!"],
      [" two words, <>", " two words, <>"],
      [" =?utf-8?q?B=C3=B6b?= <a@b>", " =?utf-8?q?B=C3=B6b?= <!a@b!>"],
      [" (unclosed a@b", " (unclosed a@b"],
      [" <a@b, c@d", " <a@b, c@d"],
      [' "unclosed <a@b>', ' "unclosed <a@b>'],
    ];
    for (const [value, wanted] of cases) assert.equal(mark(value), wanted);
  });

  it("takes linear time for what is made to be slow", () => {
    const started = performance.now();
    for (const one of ["(", "<", '"', "[", ",", ":", "a ", "\\"]) mark(one.repeat(100_000));
    assert.ok(performance.now() - started < 5_000);
  });
});
