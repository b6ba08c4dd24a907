import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { Transcript } from "./transcript.ts";

describe("a transcript", () => {
  it("D9 has commands and replies in order", () => {
    const transcript = new Transcript();
    transcript.out("MAIL FROM:<a@example.com>\r\nRCPT TO:<b@example.com>\r\n");
    transcript.in("250 ok");
    transcript.in("599-what\r\n599 now\u0007");
    assert.deepEqual(transcript.lines, [
      " Out: MAIL FROM:<a@example.com>",
      " Out: RCPT TO:<b@example.com>",
      " In:  250 ok",
      " In:  599-what",
      " In:  599 now?",
    ]);
  });

  it("security 14: tells of a login the mechanism and codes alone", () => {
    const transcript = new Transcript();
    transcript.outSecret("AUTH PLAIN c2VjcmV0");
    transcript.inSecret("535 c2VjcmV0 is wrong");
    transcript.outSecret("c2VjcmV0");
    transcript.inSecret("334 c2VjcmV0");
    assert.deepEqual(transcript.lines, [
      " Out: AUTH PLAIN (hidden)",
      " In:  535 (hidden)",
      " Out:  (hidden)",
      " In:  334 (hidden)",
    ]);
  });

  it("is bounded, and keeps the end", () => {
    const transcript = new Transcript();
    for (let number = 0; number < 1000; number += 1) transcript.in(`250 ${number}`);
    assert.equal(transcript.lines.length, 301);
    assert.equal(transcript.lines.at(-1), " In:  250 999");
    transcript.in("x".repeat(100_000));
    assert.ok((transcript.lines.at(-1)?.length ?? 0) <= 240);
  });
});
