/** What smtpd answers to commands of extensions that it does not offer, beside Postfix with those turned off. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { SmtpClient, waitFor } from "@postmq/testing";

import { startPostfixSystem, startPostmqSystem } from "../support/mail-systems.ts";
import type { MailSystem } from "../support/mail-systems.ts";

/** Each on a connection of its own; QUIT in the same write tells whether the session goes on. */
const commands = [
  "STARTTLS",
  "AUTH PLAIN",
  "BDAT 6 LAST",
  "XCLIENT NAME=a.example.com",
  "XFORWARD NAME=a.example.com",
  "EXPN list",
  "HELP",
  "TURN",
];

const settings = {
  smtpd_discard_ehlo_keywords: "chunking",
  // What follows in the same write is not what is compared.
  smtpd_forbid_unauth_pipelining: "no",
};

async function repliesTo(
  { smtpPort }: MailSystem,
  lines: readonly string[],
): Promise<readonly string[]> {
  using client = await SmtpClient.connect(smtpPort);
  await client.reply();
  await client.command("EHLO client.example.com");
  client.send(lines.map((line) => `${line}\r\n`).join(""));
  return await client.repliesToTheEnd();
}

/** The latest line about the end of a session, from the counts on. */
async function lastCounts({ readLog }: MailSystem): Promise<string> {
  const log = await readLog();
  return [...log.matchAll(/disconnect from \S+ (.*)/g)].at(-1)?.[1] ?? "";
}

describe("smtpd beside Postfix's", () => {
  it("refuses what it does not offer with the same words, and counts it by the same names", async () => {
    const ports = new Map([["example.com", 1]]);
    await using postfix = await startPostfixSystem({ settings, ports });
    await using postmq = await startPostmqSystem({
      settings: { smtpd_forbid_unauth_pipelining: "no" },
      ports,
    });
    for (const command of commands) {
      const theirs = await repliesTo(postfix, [command, "QUIT"]);
      assert.deepEqual(await repliesTo(postmq, [command, "QUIT"]), theirs, command);
    }
    const all = [...commands, "QUIT"];
    await Promise.all([postfix, postmq].map((system) => repliesTo(system, all)));
    for (const system of [postfix, postmq]) {
      await waitFor(async () => (await lastCounts(system)).includes("bdat="));
    }
    assert.equal(await lastCounts(postmq), await lastCounts(postfix));
  });
});
