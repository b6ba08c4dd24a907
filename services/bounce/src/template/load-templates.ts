/**
 * The templates of this site: those of bounce_template_file, and the built-in ones for the rest.
 *
 * They are read and expanded once, at start. Departs: an unknown `$name` stops the daemon at start, where Postfix's
 * dies of it at the first report.
 *
 * Source: bounce(5); postconf(5) bounce_template_file; Postfix src/bounce/bounce.c.
 */
import { readFileSync } from "node:fs";
import { BadValue } from "@postmq/config";
import type { Parameters } from "@postmq/config";
import { PostmqError } from "@postmq/vocabulary";
import { builtInTemplates } from "./built-in-templates.ts";
import { expandTemplateLine } from "./expand-template.ts";
import { parseTemplates } from "./parse-templates.ts";
import type { WrittenTemplate } from "./parse-templates.ts";
import { templateNames } from "./template.ts";
import type { Template, Templates } from "./template.ts";

type Reading = {
  readonly parameters: Parameters;
  readonly fileName: string;
  readonly onWarning: (text: string) => void;
};

/** @throws PMQ_CONFIG_INVALID naming file and line */
export function loadTemplates(
  parameters: Parameters,
  onWarning: (text: string) => void,
): Templates {
  const builtIn = builtInTemplates({
    myhostname: parameters.myhostname,
    delayWarningMs: parameters.delay_warning_time,
    lifetimeMs: parameters.maximal_queue_lifetime,
  });
  const fileName = parameters.bounce_template_file;
  if (fileName === "") return builtIn;
  const written = parseTemplates(readFile(fileName), { name: fileName, onWarning });
  const own: { -readonly [Name in keyof Templates]?: Template } = {};
  for (const name of templateNames) {
    const template = written.get(name);
    if (template === undefined) continue;
    own[name] = madeFrom(template, builtIn[name], { parameters, fileName, onWarning });
  }
  return { ...builtIn, ...own };
}

function readFile(fileName: string): string {
  try {
    return readFileSync(fileName, "latin1");
  } catch (cause) {
    throw new PostmqError("PMQ_CONFIG_INVALID", `bounce_template_file: can't read ${fileName}`, {
      facts: { parameter: "bounce_template_file", file: fileName },
      cause,
    });
  }
}

function madeFrom(written: WrittenTemplate, builtIn: Template, reading: Reading): Template {
  const { lines, ...headers } = written;
  const words = lines.map(({ text, number }) => expanded(text, number, reading));
  return { ...builtIn, ...headers, words: () => words };
}

function expanded(text: string, line: number, reading: Reading): string {
  const { fileName, parameters, onWarning } = reading;
  const at = `${fileName}, line ${line}`;
  try {
    return expandTemplateLine(text, parameters, (problem) => onWarning(`${at}: ${problem}`));
  } catch (cause) {
    if (!(cause instanceof BadValue)) throw cause;
    throw new PostmqError("PMQ_CONFIG_INVALID", `${at}: ${cause.message}`, {
      facts: { parameter: "bounce_template_file", file: fileName, line },
      cause,
    });
  }
}
