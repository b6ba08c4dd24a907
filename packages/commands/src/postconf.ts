/**
 * postconf: shows parameters, and changes main.cf.
 *
 * A parameter that the environment sets is shown with that value, since it is the one that holds; a change of it in
 * main.cf is told to have no effect. postmq has no master.cf: what Postfix's postconf does with it is refused.
 *
 * Source: postconf(1); Postfix src/postconf/postconf.c, postconf_main.c, postconf_edit.c.
 *
 * Departs: what main.cf would not be taken with is refused before it is written; Postfix writes anything.
 */
import { existsSync } from "node:fs";

import { showParameters } from "@postmq/config";
import type { MainCfEdit, ShownParameters } from "@postmq/config";
import { printable } from "@postmq/queue-admin";
import { isPostmqError } from "@postmq/vocabulary";

import { CommandFailure } from "./command.ts";
import type { CommandContext } from "./command.ts";
import { lastValue } from "./getopt.ts";
import type { GivenArguments } from "./getopt.ts";
import { parameterSource } from "./read-parameters.ts";
import { toolOptions } from "./tool-options.ts";
import { writeMainCf } from "./write-main-cf.ts";

const usageText =
  "usage: postconf [-c config_dir] [-d (parameter defaults)] [-e (edit configuration)] [-f (fold lines)] " +
  "[-h (no names)] [-H (no values)] [-n (non-default parameters)] [-p (main.cf, default)] [-v (verbose)] " +
  "[-x (expand parameter values)] [-X (exclude)] [-# (comment-out)] [name...]";
/** What Postfix's postconf ends with. */
const fatal = 1;
/** Options of Postfix's that speak of what is not here. */
const notHere = "aAbCFlmMoPtT";
/** Of each group one may be given. Source: postconf.c pcf_incompat_options. */
const exclusive: readonly string[] = ["den#X", "ef#X", "ex#X", "ehH#X"];
/** The order in which Postfix names options. */
const namingOrder: readonly string[] = ["d", "e", "f", "h", "H", "n", "x", "X", "#"];
const lineLimit = 80;
const indent = "    ";

export async function postconf(context: CommandContext): Promise<number> {
  const given = optionsOf(context);
  const isSet = (letter: string) => given.options.some((option) => option.letter === letter);
  const isEdit = isSet("e") || (given.operands[0]?.includes("=") ?? false);
  assertTogether((letter) => isSet(letter) || (letter === "e" && isEdit));
  const source = parameterSource(context.env, lastValue(given, "c"));
  assertThere(source.env["POSTMQ_CONFIG"]);
  try {
    if (isEdit || isSet("X") || isSet("#")) {
      const kind = isEdit ? "set" : isSet("X") ? "remove" : "comment out";
      await writeMainCf(context, source, editOf(context, kind, given.operands));
      return 0;
    }
    const shown = showParameters(source, isSet("d"));
    print(context, given, shown);
    return 0;
  } catch (error) {
    if (!isPostmqError(error, "PMQ_CONFIG_INVALID")) throw error;
    throw new CommandFailure(fatal, error.message, error);
  }
}

function assertThere(mainCf: string | undefined): void {
  if (mainCf === undefined || mainCf === "" || existsSync(mainCf)) return;
  throw new CommandFailure(fatal, `open ${printable(mainCf)}: No such file or directory`);
}

function optionsOf(context: CommandContext): GivenArguments {
  const usage = { text: usageText, exitCode: fatal };
  const given = toolOptions(context, "aAbc:C:deEfFhHlmMno:pPtT:vxX#", usage);
  const unknown = given.options.find(({ letter }) => notHere.includes(letter));
  if (unknown !== undefined) {
    throw new CommandFailure(
      fatal,
      `-${unknown.letter} is about master.cf, or what else postmq does not have\n${usageText}`,
    );
  }
  return given;
}

/** @throws CommandFailure when options exclude each other */
function assertTogether(isSet: (letter: string) => boolean): void {
  for (const group of exclusive) {
    const some = namingOrder.filter((letter) => group.includes(letter) && isSet(letter));
    if (some.length > 1) {
      const names = some.map((letter) => `-${letter}`).join(" ");
      throw new CommandFailure(fatal, `specify one of ${names}`);
    }
  }
}

function print(context: CommandContext, given: GivenArguments, shown: ShownParameters): void {
  const isSet = (letter: string) => given.options.some((option) => option.letter === letter);
  const warn = (text: string) => context.complain(`${context.name}: warning: ${printable(text)}\n`);
  const all = isSet("n") ? shown.names.filter((name) => shown.isSet(name)) : shown.names;
  for (const name of given.operands.length === 0 ? all : given.operands) {
    const text = shown.text(name, isSet("x"));
    if (text === undefined) warn(`${name}: unknown parameter`);
    else if (isSet("H")) context.print(`${name}\n`);
    else {
      const line = isSet("h") ? text : `${name} = ${text}`;
      context.print(`${laidOut(printable(line), isSet("f"))}\n`);
    }
  }
  for (const { from, name, value } of shown.unused) {
    warn(`${from}: unused parameter: ${name}=${value}`);
  }
}

/** White space made single blanks; with -f no line longer than 79, if its words let it. Source: pcf_print_line. */
function laidOut(line: string, isFolded: boolean): string {
  let text = "";
  let length = 0;
  for (const word of line.split(/[ \t\r\n]+/).filter((one) => one !== "")) {
    const isFirst = length === 0;
    const fits = !isFolded || length + word.length < lineLimit;
    text += isFirst ? word : fits ? ` ${word}` : `\n${indent}${word}`;
    length = isFirst ? word.length : (fits ? length + 1 : indent.length) + word.length;
  }
  return text;
}

/** @throws CommandFailure in Postfix's words */
function editOf(
  context: CommandContext,
  kind: MainCfEdit["kind"],
  operands: readonly string[],
): MainCfEdit {
  if (operands.length === 0) {
    const missing = kind === "set" ? "-e requires name=value argument" : "missing service argument";
    throw new CommandFailure(fatal, missing);
  }
  const values = new Map<string, string>();
  for (const operand of operands) {
    const [name, value] = kind === "set" ? nameAndValue(operand) : [nameOnly(operand), ""];
    const earlier = values.get(name);
    if (earlier !== undefined) {
      const request = printable(`${name} = ${earlier}`);
      context.complain(`${context.name}: warning: ignoring earlier request: '${request}'\n`);
      values.delete(name);
    }
    values.set(name, value);
  }
  return { kind, values };
}

function nameAndValue(operand: string): readonly [string, string] {
  assertOneLine(operand);
  const match = /^\s*([^\s=]*)\s*(=?)\s*([\s\S]*?)\s*$/.exec(operand);
  const [, name = "", equals = "", value = ""] = match ?? [];
  const said = printable(operand.trimStart());
  if (name === "") throw new CommandFailure(fatal, `missing attribute name: "${said}"`);
  if (equals === "") {
    throw new CommandFailure(fatal, `missing '=' after attribute name: "${said}"`);
  }
  return [name, value];
}

function nameOnly(operand: string): string {
  assertOneLine(operand);
  if (operand.trim() === "") {
    throw new CommandFailure(fatal, "-X or -# requires non-blank parameter names");
  }
  if (operand.includes("=")) {
    throw new CommandFailure(fatal, "-X or -# requires parameter names without value");
  }
  return operand.trim();
}

function assertOneLine(operand: string): void {
  if (operand.includes("\n")) {
    throw new CommandFailure(fatal, "-e, -X, or -# accepts no multi-line input");
  }
  if (operand.trimStart().startsWith("#")) {
    throw new CommandFailure(fatal, "-e, -X, or -# accepts no comment input");
  }
}
