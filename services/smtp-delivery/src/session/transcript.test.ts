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

  it("security 14: tells no secret, in whichever step it is sent", () => {
    const transcript = new Transcript();
    transcript.out("AUTH PLAIN c2VjcmV0");
    transcript.in("535 no");
    transcript.out("AUTH LOGIN");
    transcript.in("334 VXNlcm5hbWU6");
    transcript.out("c2VjcmV0");
    transcript.in("334 UGFzc3dvcmQ6");
    transcript.out("c2VjcmV0");
    transcript.in("235 ok");
    transcript.out("MAIL FROM:<>");
    const text = transcript.lines.join("\n");
    assert.doesNotMatch(text, /c2VjcmV0/);
    assert.match(text, /AUTH PLAIN \(hidden\)/);
    assert.match(text, /MAIL FROM:<>$/);
  });

  it("is bounded, and keeps the end", () => {
    const transcript = new Transcript();
    for (let number = 0; number < 1000; number += 1) transcript.in(`250 ${number}`);
    assert.equal(transcript.lines.length, 301);
    assert.equal(transcript.lines.at(-1), " In:  250 999");
    transcript.in("x".repeat(100_000));
    assert.ok((transcript.lines.at(-1)?.length ?? 0) <= 1_000);
  });
});
