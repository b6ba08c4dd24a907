import assert from "node:assert/strict";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";

import { loadParameters } from "@postmq/config";
import { isPostmqError } from "@postmq/vocabulary";

import { composeReport } from "../report/compose-report.ts";
import {
  delayInput,
  inputWith,
  refused,
  successInput,
} from "../report/report-input.test-support.ts";
import type { ReportInput } from "../report/report-input.ts";
import { assertWireForm, readMultipart, readPart } from "../report/strict-mime.test-support.ts";
import { loadTemplates } from "./load-templates.ts";
import type { Templates } from "./template.ts";

let directory = "";
let files = 0;
before(async () => {
  directory = await mkdtemp(join(tmpdir(), "postmq-templates-"));
});
after(() => rm(directory, { recursive: true, force: true }));

/** Templates of a file with this text (latin1), under these parameters. */
async function load(text: string, env: Readonly<Record<string, string>> = {}) {
  files += 1;
  const file = join(directory, `bounce-${files}.cf`);
  await writeFile(file, text, "latin1");
  const warnings: string[] = [];
  const parameters = loadParameters({
    env: { POSTMQ_MYHOSTNAME: "mail.example", POSTMQ_BOUNCE_TEMPLATE_FILE: file, ...env },
  });
  const templates = loadTemplates(parameters, (warning) => warnings.push(warning));
  return { templates, warnings, file };
}

async function refusal(text: string): Promise<string> {
  const error: unknown = await load(text).then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  assert(isPostmqError(error, "PMQ_CONFIG_INVALID"));
  return error.message;
}

function words(templates: Templates, name: keyof Templates): string {
  return templates[name].words({ isExpired: false, returned: "whole" }).join("\n");
}

function block(name: string, ...lines: readonly string[]): string {
  return `${name}_template = <<EOF\n${lines.join("\n")}\nEOF\n`;
}

/** The report's message and its text part. */
function compose(input: ReportInput, templates: Templates) {
  const { content } = composeReport({ ...input, settings: { ...input.settings, templates } });
  assertWireForm(content);
  const message = readPart(content);
  const [text] = readMultipart(message);
  assert(text !== undefined);
  return { message, text };
}

describe("loadTemplates", () => {
  it("expands parameters, and times in units", async () => {
    const { templates, warnings } = await load(
      block(
        "delay",
        "at $myhostname of ${mydomain}, $(myorigin): $$5",
        "after $delay_warning_time_hours h = $delay_warning_time_minutes min, at most",
        "$maximal_queue_lifetime_days d, $maximal_queue_lifetime_weeks wk, $maximal_queue_lifetime",
        "$bounce_size_limit $soft_bounce $enable_threaded_bounces ${relayhost?relay}${relayhost:none}",
      ),
      { POSTMQ_DELAY_WARNING_TIME: "4h", POSTMQ_MAXIMAL_QUEUE_LIFETIME: "14d" },
    );
    assert.equal(
      words(templates, "delay"),
      "at mail.example of example, mail.example: $5\nafter 4 h = 240 min, at most\n14 d, 2 wk, 14d\n50000 no no none",
    );
    assert.deepEqual(warnings, []);
    assert.match(words(templates, "failure"), /could not be delivered/);
  });

  it("warns of a time that is 0 or many units, as Postfix does", async () => {
    const text = block("delay", "$delay_warning_time_hours", "$maximal_queue_lifetime_seconds");
    const { templates, warnings, file } = await load(text, { POSTMQ_DELAY_WARNING_TIME: "30m" });
    assert.equal(words(templates, "delay"), "0\n432000");
    assert.deepEqual(warnings, [
      `${file}, line 2: $delay_warning_time_hours is 0: a smaller unit is needed`,
      `${file}, line 3: $maximal_queue_lifetime_seconds is 432000: a larger unit would read better`,
    ]);
  });

  it("refuses to start over an unknown name, a wrong form or a file that is not there", async () => {
    assert.match(
      await refusal(block("failure", "a", "$no_such_name")),
      /bounce-\d+\.cf, line 3: \$no_such_name/,
    );
    assert.match(
      await refusal(block("failure", "$maximal_queue_lifetime_years")),
      /suffix "years"/,
    );
    assert.match(await refusal(block("failure", "5 $")), /line 2: .*\$\$/);
    const parameters = loadParameters({ env: { POSTMQ_BOUNCE_TEMPLATE_FILE: "/no/such/file" } });
    assert.throws(
      () => loadTemplates(parameters, () => undefined),
      (error) =>
        isPostmqError(error, "PMQ_CONFIG_INVALID") && error.message.includes("/no/such/file"),
    );
  });

  it("shows no parameter that may hold a secret", async () => {
    assert.match(await refusal(block("failure", "$redis_url")), /\$redis_url is no parameter/);
    assert.match(await refusal(block("failure", "$transport_maps")), /\$transport_maps is no par/);
  });
});

describe("a report with a site's own template", () => {
  const own = block(
    "failure",
    "From: Post Office <postoffice>",
    "Subject: Could not deliver",
    "Postmaster-Subject: Look at this",
    "",
    "Sorry, says $myhostname.",
  );

  it("has its words, subject and sender, completed with myorigin", async () => {
    const { templates } = await load(own);
    const { message, text } = compose(inputWith(), templates);
    assert.equal(message.headers.get("subject"), "Could not deliver");
    assert.equal(message.headers.get("from"), "Post Office <postoffice@example>");
    assert.match(text.body.toString(), /^Sorry, says mail\.example\.\r\n\r\n<joe@far\.example> /);
    assert.equal(text.headers.get("content-type"), "text/plain; charset=us-ascii");
  });

  it("keeps the built-in words of other kinds, and uses the failure's for what is expired", async () => {
    const { templates } = await load(own);
    assert.match(compose(delayInput, templates).text.body.toString(), /WARNING ONLY/);
    assert.match(compose(successInput, templates).text.body.toString(), /was delivered/);
    const expired = compose(inputWith({ notice: { kind: "expired" } }), templates);
    assert.equal(expired.message.headers.get("subject"), "Could not deliver");
  });

  it("gives the postmaster the subject for copies, and none of the words", async () => {
    const { templates } = await load(own);
    const { message, text } = compose(inputWith({ notice: { to: "postmaster" } }), templates);
    assert.equal(message.headers.get("subject"), "Look at this");
    assert.doesNotMatch(text.body.toString(), /Sorry/);
  });

  it("goes out in the template's charset byte for byte, with ASCII alone added to it", async () => {
    const { templates } = await load(
      block(
        "failure",
        "Charset: iso-8859-1",
        "From: postoffice@x.example (Post)",
        "",
        "Gr\xfc\xdfe",
      ),
    );
    const about = [{ ...refused, address: "jürgen@far.example" }];
    const { message, text } = compose(inputWith({ notice: { about } }), templates);
    assert.equal(text.headers.get("content-type"), "text/plain; charset=iso-8859-1");
    assert.equal(text.headers.get("content-transfer-encoding"), "8bit");
    assert.equal(message.headers.get("from"), "postoffice@x.example (Post)");
    assert.match(text.body.toString("latin1"), /^Gr\xfc\xdfe\r\n\r\n<j\?rgen@far\.example> /);
  });

  it("may be UTF-8, with addresses in UTF-8 behind it", async () => {
    const { templates } = await load(
      block("failure", "Charset: UTF-8", "", Buffer.from("Grüße").toString("latin1")),
    );
    const about = [{ ...refused, address: "jürgen@far.example" }];
    const { text } = compose(inputWith({ notice: { about } }), templates);
    assert.equal(text.headers.get("content-type"), "text/plain; charset=UTF-8");
    assert.match(text.body.toString(), /^Grüße\r\n\r\n<jürgen@far\.example> /);
  });
});
