/**
 * Reports parsed back by two parsers that are not ours: each must find the three parts, and in the second the fields that
 * RFC 3464 wants, with the values that went in.
 */
import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { formatMailDate } from "@postmq/mail-format";
import { enhancedStatus } from "@postmq/vocabulary";
import type { StoredRecipient } from "@postmq/vocabulary";

import { composeReport } from "./compose-report.ts";
import { readWithPostalMime, readWithPython } from "./foreign-readers.test-support.ts";
import type { ForeignReport } from "./foreign-readers.test-support.ts";
import {
  delayInput,
  failureInput,
  inputWith,
  original,
  refused,
  successInput,
} from "./report-input.test-support.ts";
import type { ReportInput } from "./report-input.ts";
import { assertWireForm } from "./strict-mime.test-support.ts";

/** What both parsers read, and agree on. */
async function readBack(input: ReportInput): Promise<ForeignReport> {
  const { content } = composeReport(input);
  assertWireForm(content);
  const [one, other] = await Promise.all([readWithPostalMime(content), readWithPython(content)]);
  assert.deepEqual(one.perMessage, trimmed(other.perMessage));
  assert.deepEqual(one.perRecipient, other.perRecipient.map(trimmed));
  assert.equal(one.statusType, other.statusType);
  assert.equal(one.returnedType, other.returnedType);
  assert.equal(one.text.trim(), other.text.replaceAll("\r\n", "\n").trim());
  assertFieldsOfRfc3464(one);
  return one;
}

/** Each parser unfolds a line in its own way: as one blank, or as those that began it. */
function trimmed(fields: Readonly<Record<string, string>>): Readonly<Record<string, string>> {
  return Object.fromEntries(Object.entries(fields).map(([name, value]) => [name, value.trim()]));
}

/** Source: RFC 3464 §2.2, §2.3. */
function assertFieldsOfRfc3464({ perMessage, perRecipient }: ForeignReport): void {
  assert.match(perMessage["reporting-mta"] ?? "", /^dns; \S+$/);
  assert(!Number.isNaN(Date.parse(perMessage["arrival-date"] ?? "")));
  for (const fields of perRecipient) {
    assert.match(fields["final-recipient"] ?? "", /^(?:rfc822|utf-8); ?\S/);
    assert.match(fields["action"] ?? "", /^(?:failed|delayed|delivered|relayed|expanded)$/);
    assert.match(fields["status"] ?? "", /^[245]\.\d{1,3}\.\d{1,3}$/);
    assert.match(fields["diagnostic-code"] ?? "", /^(?:smtp|X-Postfix); ?\S/);
    assert.doesNotMatch(Object.values(fields).join(""), /\n/, "a field stands once");
  }
}

function unfolded(text: string | undefined): string {
  return (text ?? "").replaceAll(/\s+/g, " ");
}

describe("two foreign parsers", () => {
  it("read a failure", async () => {
    const { headers, perMessage, perRecipient, returned, returnedType, text } =
      await readBack(failureInput);
    assert.equal(headers["auto-submitted"], "auto-replied");
    assert.equal(headers["to"], "sender@x.example");
    assert.deepEqual(perMessage, {
      "reporting-mta": "dns; mail.example",
      "original-envelope-id": "env+1",
      "x-postfix-queue-id": "4Fq0000000zABCDEF",
      "x-postfix-sender": "rfc822; sender@x.example",
      "arrival-date": formatMailDate(failureInput.arrivalMs),
    });
    assert.deepEqual(perRecipient, [
      {
        "final-recipient": "rfc822; joe@far.example",
        "original-recipient": "rfc822;Info@near.example",
        action: "failed",
        status: "5.1.1",
        "remote-mta": "dns; mx.far.example",
        "diagnostic-code": "smtp; 550 5.1.1 no such user",
      },
    ]);
    assert.match(unfolded(text), /<joe@far\.example> \(expanded from <info@near\.example>\): host/);
    assert.equal(returnedType, "message/rfc822");
    assert(returned.toString().startsWith("Return-Path: <sender@x.example>"));
    assert(returned.includes("X-Odd: .dot") && returned.includes(".line"));
  });

  it("read a delay", async () => {
    const { perRecipient, returned, returnedType } = await readBack(delayInput);
    const [fields] = perRecipient;
    assert.equal(fields?.["action"], "delayed");
    assert.equal(fields?.["status"], "4.2.1");
    assert.equal(
      fields?.["will-retry-until"],
      formatMailDate(delayInput.arrivalMs + delayInput.settings.lifetimeMs),
    );
    assert.equal(returnedType, "text/rfc822-headers");
    assert.match(returned.toString(), /Message-ID: <one@x\.example>/);
  });

  it("read a success", async () => {
    const { perRecipient, headers } = await readBack(successInput);
    const [fields] = perRecipient;
    assert.equal(headers["subject"], "Successful mail delivery report");
    assert.equal(fields?.["action"], "relayed");
    assert.equal(fields?.["status"], "2.0.0");
    assert.equal(fields?.["diagnostic-code"], "smtp; 250 2.0.0 Ok: queued as 12345");
  });

  it("read the postmaster's copy", async () => {
    const { headers } = await readBack(
      inputWith({ notice: { to: "postmaster", recipient: "postmaster@example" } }),
    );
    assert.equal(headers["auto-submitted"], "auto-generated");
    assert.equal(headers["to"], "postmaster@example");
  });

  it("find 8-bit content as it was", async () => {
    const bytes = Buffer.from(
      "Subject: x\r\nContent-Type: text/plain; charset=iso-8859-1\r\n" +
        "Content-Transfer-Encoding: 8bit\r\n\r\nf\xfcr dich\r\n",
      "latin1",
    );
    const { headers, returned } = await readBack(inputWith({ returned: { kind: "whole", bytes } }));
    assert.equal(headers["content-transfer-encoding"], "8bit");
    assert(returned.includes(Buffer.from("f\xfcr dich", "latin1")));
  });

  it("read internationalised addresses (RFC 6533)", async () => {
    const about = [{ ...refused, address: "jürgen@bücher.example", orcpt: "utf-8;kö@x.example" }];
    const { statusType, perRecipient, returnedType, text } = await readBack(
      inputWith({
        envelope: { ...failureInput.envelope, smtputf8: true },
        notice: { about },
        returned: { kind: "whole", bytes: Buffer.from("Subject: grüß dich\r\n\r\nhallo\r\n") },
      }),
    );
    assert.equal(statusType, "message/global-delivery-status");
    assert.equal(returnedType, "message/global");
    assert.equal(perRecipient[0]?.["final-recipient"], "utf-8; jürgen@bücher.example");
    assert.equal(perRecipient[0]?.["original-recipient"], "utf-8;kö@x.example");
    assert.match(unfolded(text), /<jürgen@bücher\.example>/);
  });

  it("are not deceived by line ends in replies, addresses and names", async () => {
    const hostile: StoredRecipient = {
      number: 0,
      address: "a\r\nBcc: b@x.example",
      orcpt: "rfc822;x\r\n\r\nFinal-Recipient: rfc822; victim@x.example",
      state: {
        kind: "failed",
        status: enhancedStatus("5.0.0"),
        reason: "no\r\n\r\n--4Fq0000001zABCDEF.1795255500/mail.example--\r\n\0",
        remote: {
          host: "h\nX: y",
          address: "192.0.2.1",
          port: 25,
          reply: "550 no\r\nStatus: 2.0.0\u2028Action: delivered\r\rx",
        },
      },
    };
    const { perMessage, perRecipient } = await readBack(
      inputWith({
        envelope: { ...failureInput.envelope, envid: "e\r\n\r\nAction: delivered" },
        notice: { about: [hostile, refused] },
      }),
    );
    assert.equal(perRecipient.length, 2);
    assert.equal(perRecipient[0]?.["action"], "failed");
    assert.equal(perRecipient[0]?.["status"], "5.0.0");
    assert.equal(perRecipient[0]?.["final-recipient"], "rfc822; a??Bcc: b@x.example");
    assert.equal(perMessage["original-envelope-id"], "e????Action: delivered");
    assert.equal(perRecipient[1]?.["final-recipient"], "rfc822; joe@far.example");
  });

  it("find the original whole when it holds this report's boundary, and boundaries of its own", async () => {
    const taken = /boundary="([^"]+)"/.exec(composeReport(failureInput).content.toString())?.[1];
    const bytes = Buffer.from(
      `Content-Type: multipart/mixed; boundary="${taken}"\r\n\r\n--${taken}\r\n\r\nin\r\n--${taken}--\r\n`,
    );
    const { returned } = await readBack(inputWith({ returned: { kind: "whole", bytes } }));
    assert(returned.includes(`--${taken}--`));
  });

  it("read a reply of 10 000 characters, with blanks and without", async () => {
    for (const reply of [`550 ${"word ".repeat(2000)}end`, `550 ${"x".repeat(10_000)}end`]) {
      const about: readonly StoredRecipient[] = [
        {
          ...refused,
          state: {
            kind: "failed",
            status: enhancedStatus("5.7.1"),
            reason: `host mx.far.example[192.0.2.1] said: ${reply}`,
            remote: { host: "mx.far.example", address: "192.0.2.1", port: 25, reply },
          },
        },
      ];
      const { perRecipient } = await readBack(inputWith({ notice: { about } }));
      const diagnostic = perRecipient[0]?.["diagnostic-code"] ?? "";
      assert.equal(diagnostic.replaceAll(/\s/g, ""), `smtp; ${reply}`.replaceAll(/\s/g, ""));
    }
  });

  it("D33 count 1 000 recipients", async () => {
    const about = Array.from({ length: 1000 }, (_, number) => ({
      ...refused,
      number,
      address: `r${number}@far.example`,
    }));
    const { perRecipient, text } = await readBack(inputWith({ notice: { about } }));
    assert.deepEqual(
      perRecipient.map((fields) => fields["final-recipient"]),
      about.map(({ address }) => `rfc822; ${address}`),
    );
    assert.equal([...text.matchAll(/^<r\d+@far\.example> /gm)].length, 1000);
  });

  it("find the original's bytes, dots and a missing last line end included", async () => {
    const { content } = composeReport(failureInput);
    const { returned } = await readWithPostalMime(content);
    assert(content.includes(original));
    assert.match(returned.toString(), /\r?\n\.line\r?\nlast\s*$/);
  });
});
