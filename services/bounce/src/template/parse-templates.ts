/**
 * Reads a file of templates in the format of bounce(5), without expanding what is in them.
 *
 * What is wrong with the file as such is refused; what is wrong with one template is warned of, and that template is
 * left out, as in Postfix.
 *
 * Source: bounce(5) "TEMPLATE FILE FORMAT", "TEMPLATE HEADER FORMAT"; Postfix src/bounce/bounce_templates.c,
 * bounce_template.c.
 */
import { PostmqError } from "@postmq/vocabulary";
import { templateNames } from "./template.ts";
import type { TemplateName } from "./template.ts";

export type TemplateLine = { readonly text: string; readonly number: number };

/** A template as written: headers that it has not are left at their default. */
export type WrittenTemplate = {
  readonly charset?: string;
  readonly from?: string;
  readonly subject?: string;
  readonly postmasterSubject?: string;
  readonly lines: readonly TemplateLine[];
};

/** Hears of a template that is left out, and why. */
export type OnTemplateWarning = (text: string) => void;

type File = { readonly name: string; readonly onWarning: OnTemplateWarning };
type Block = { readonly name: string; readonly lines: readonly TemplateLine[] };

/**
 * The templates of a file; of two with one name the later.
 *
 * @param text the file's bytes as latin1
 * @throws PMQ_CONFIG_INVALID naming file and line
 */
export function parseTemplates(
  text: string,
  file: File,
): ReadonlyMap<TemplateName, WrittenTemplate> {
  const written = new Map<TemplateName, WrittenTemplate>();
  for (const { name, lines } of readBlocks(text, file)) {
    if (name === "verify_template") {
      file.onWarning(`${file.name}: verify_template has no effect here`);
      continue;
    }
    const known = templateNames.find((each) => name === `${each}_template`);
    if (known === undefined) {
      const at = `${file.name}, line ${lines[0]?.number ?? 0}`;
      file.onWarning(`${at}: unknown template name: ${name} -- ignoring this template`);
      continue;
    }
    const template = readTemplate(known, lines, file);
    if (template === undefined) written.delete(known);
    else written.set(known, template);
  }
  return written;
}

function readBlocks(text: string, file: File): readonly Block[] {
  const lines = text
    .replace(/\r?\n$/, "")
    .split(/\r?\n/)
    .map((line, index) => ({ text: line, number: index + 1 }));
  const blocks: Block[] = [];
  for (let at = 0; at < lines.length; at += 1) {
    const line = lines[at];
    if (line === undefined || /^\s*(?:#|$)/.test(line.text)) continue;
    const { name, value } = nameAndValue(line, file);
    const endMarker = endMarkerOf(value, line, file);
    if (endMarker === undefined) {
      blocks.push({ name, lines: [{ text: value, number: line.number }] });
      continue;
    }
    const end = lines.findIndex(({ text: other }, index) => index > at && other === endMarker);
    if (end < 0) {
      file.onWarning(`${file.name}, line ${lines.length}: missing "${endMarker}" end marker`);
    }
    const stop = end < 0 ? lines.length : end;
    blocks.push({ name, lines: lines.slice(at + 1, stop) });
    at = stop;
  }
  return blocks;
}

function nameAndValue(
  line: TemplateLine,
  file: File,
): { readonly name: string; readonly value: string } {
  const match = /^\s*([^\s=]+)\s*=\s*(.*?)\s*$/.exec(line.text);
  if (match === null) throw invalid(file, line.number, `"${line.text}" is not name = value`);
  return { name: match[1] ?? "", value: match[2] ?? "" };
}

/** The word after `<<`; undefined: the value stands on this line. */
function endMarkerOf(value: string, { number }: TemplateLine, file: File): string | undefined {
  if (!value.startsWith("<<")) return undefined;
  const marker = value.slice(2).trimStart();
  if (marker === "") throw invalid(file, number, "missing end marker after <<");
  if (!/^[A-Za-z0-9]/.test(marker)) throw invalid(file, number, "malformed end marker after <<");
  return marker;
}

const headerNames = {
  charset: "charset",
  from: "from",
  subject: "subject",
  "postmaster-subject": "postmasterSubject",
} as const;

/** undefined: it is unusable, and a warning says why. */
function readTemplate(
  name: TemplateName,
  lines: readonly TemplateLine[],
  file: File,
): WrittenTemplate | undefined {
  const headers: { -readonly [Key in keyof WrittenTemplate]?: string } = {};
  const unusable = (problem: string, { number }: TemplateLine): undefined => {
    const at = `${file.name}, line ${number}`;
    file.onWarning(`${at}: ${problem} in ${name} template -- ignoring this template`);
  };
  let at = 0;
  for (; at < lines.length; at += 1) {
    const line = lines[at];
    const header = /^([!-9;-~]+)[ \t]*:[:\s]*(.*?)\s*$/.exec(line?.text ?? "");
    if (line === undefined || header === null) break;
    const [, label = "", value = ""] = header;
    const key = knownHeader(label);
    if (value === "") return unusable(`empty "${label}" header value`, line);
    if (/[^\x20-\x7e]/.test(value)) return unusable(`non-ASCII "${label}" header value`, line);
    if (key === undefined) return unusable(`unknown "${label}" header label`, line);
    if (key === "postmasterSubject" && name === "success") {
      return unusable(`inapplicable "${label}" header label`, line);
    }
    headers[key] = value;
  }
  const text = lines.slice(at);
  const firstText = text.findIndex((line) => line.text.trim() !== "");
  const last = lines.at(-1) ?? { text: "", number: 0 };
  if (firstText < 0) return unusable("missing message text", last);
  const body = text.slice(firstText);
  const eightBit = body.find((line) => /[^\0-\x7f]/.test(line.text));
  if (eightBit !== undefined && (headers.charset ?? "us-ascii").toLowerCase() === "us-ascii") {
    return unusable("8-bit message text without a charset other than us-ascii", eightBit);
  }
  return { ...headers, lines: body };
}

function knownHeader(label: string): (typeof headerNames)[keyof typeof headerNames] | undefined {
  const lower = label.toLowerCase();
  const entry = Object.entries(headerNames).find(([name]) => name === lower);
  return entry?.[1];
}

function invalid(file: File, line: number, problem: string): PostmqError {
  return new PostmqError("PMQ_CONFIG_INVALID", `${file.name}, line ${line}: ${problem}`, {
    facts: { parameter: "bounce_template_file", file: file.name, line },
  });
}
