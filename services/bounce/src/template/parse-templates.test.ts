import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { isPostmqError } from "@postmq/vocabulary";

import { parseTemplates } from "./parse-templates.ts";

function parse(text: string) {
  const warnings: string[] = [];
  const onWarning = (warning: string) => void warnings.push(warning);
  return { templates: parseTemplates(text, { name: "bounce.cf", onWarning }), warnings };
}

function refusal(text: string): string {
  try {
    parse(text);
  } catch (error) {
    assert(isPostmqError(error, "PMQ_CONFIG_INVALID"));
    return error.message;
  }
  return assert.fail("it was not refused");
}

/** What is warned of a failure template with these lines, which is left out for it. */
function whyLeftOut(...lines: readonly string[]): string {
  const { templates, warnings } = parse(`failure_template = <<EOF\n${lines.join("\n")}\nEOF\n`);
  assert.equal(templates.size, 0);
  assert.equal(warnings.length, 1);
  return warnings[0] ?? "";
}

describe("parseTemplates", () => {
  it("reads headers in any case, then text as it stands, with the numbers of its lines", () => {
    const { templates, warnings } = parse(
      "# ours\n\n  # more\nfailure_template = <<EOF\nCHARSET: us-ascii\nfrom: MAILER-DAEMON (x)\n" +
        "Subject: No\nPostmaster-Subject: Copy\n\n\nText: $$ \\n\n  indented  \n\nlast\nEOF\n",
    );
    assert.deepEqual(warnings, []);
    assert.deepEqual(templates.get("failure"), {
      charset: "us-ascii",
      from: "MAILER-DAEMON (x)",
      subject: "No",
      postmasterSubject: "Copy",
      lines: [
        { text: "Text: $$ \\n", number: 11 },
        { text: "  indented  ", number: 12 },
        { text: "", number: 13 },
        { text: "last", number: 14 },
      ],
    });
  });

  it("takes any end marker, a # inside, and several templates; lines may end with CRLF", () => {
    const { templates, warnings } = parse(
      "delay_template = << END1  \r\nEOF\r\n# kept\r\nEND1\r\nsuccess_template=<<EOF\r\nyes\r\nEOF",
    );
    assert.deepEqual(warnings, []);
    assert.deepEqual(
      templates.get("delay")?.lines.map(({ text }) => text),
      ["EOF", "# kept"],
    );
    assert.deepEqual(
      templates.get("success")?.lines.map(({ text }) => text),
      ["yes"],
    );
  });

  it("takes a text on the line itself, and the later of two templates of one name", () => {
    const { templates } = parse("failure_template = first\nfailure_template = second\n");
    assert.deepEqual(templates.get("failure")?.lines, [{ text: "second", number: 2 }]);
  });

  it("warns of names that have no effect, and of an end marker that is missing", () => {
    const { templates, warnings } = parse(
      "verify_template = <<EOF\nx\nEOF\nother_template = <<EOF\ny\nEOF\ndelay_template = <<EOF\nz\n",
    );
    assert.deepEqual(
      templates.get("delay")?.lines.map(({ text }) => text),
      ["z"],
    );
    assert.deepEqual(warnings, [
      'bounce.cf, line 8: missing "EOF" end marker',
      "bounce.cf: verify_template has no effect here",
      "bounce.cf, line 5: unknown template name: other_template -- ignoring this template",
    ]);
  });

  it("refuses a file that is none, with the line", () => {
    assert.match(refusal("\nfailure_template <<EOF\n"), /^bounce\.cf, line 2: .* name = value$/);
    assert.match(refusal("failure_template = <<\n"), /line 1: missing end marker after <</);
    assert.match(refusal("failure_template = <<'EOF'\n"), /line 1: malformed end marker after <</);
  });

  it("leaves a template out, with a warning, for what Postfix leaves it out for", () => {
    assert.match(
      whyLeftOut("Subject:", "", "x"),
      /line 2: empty "Subject" header value in failure/,
    );
    assert.match(whyLeftOut("Subject: \xfc", "", "x"), /non-ASCII "Subject" header value/);
    assert.match(whyLeftOut("Reply-To: x", "", "x"), /unknown "Reply-To" header label/);
    assert.match(whyLeftOut("Subject: x", "", " "), /missing message text in failure/);
    assert.match(whyLeftOut("Subject: x", "", "\xfc"), /line 4: 8-bit message text/);
    const { templates, warnings } = parse(
      "success_template = <<EOF\nPostmaster-Subject: x\n\nx\nEOF",
    );
    assert.equal(templates.size, 0);
    assert.match(warnings[0] ?? "", /inapplicable "Postmaster-Subject" header label in success/);
  });

  it("takes 8-bit text under a charset that has it", () => {
    const { templates } = parse("failure_template = <<EOF\nCharset: iso-8859-1\n\n\xfc\nEOF\n");
    assert.deepEqual(templates.get("failure")?.lines, [{ text: "\xfc", number: 4 }]);
  });
});
