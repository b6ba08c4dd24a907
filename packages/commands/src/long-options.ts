/** Options with long names, as postmq's own verbs have them: `--name value`, `--name=value`, `--flag`. */
import { exitCodes } from "@postmq/vocabulary";

import { CommandFailure } from "./command.ts";
import { shownText } from "./shown-text.ts";

export type LongOptions = {
  /** Values in the order given, by name with its hyphens. */
  readonly values: readonly (readonly [name: string, value: string])[];
  readonly flags: ReadonlySet<string>;
  readonly operands: readonly string[];
};

/**
 * Takes apart what is known; a word that is not an option is an operand, and so is all after `--`.
 *
 * @param known.values names that need a value, `--older-than`
 * @param known.flags names that have none, `--all`, `-v`
 * @throws CommandFailure, exit 64, naming the option that is not known, lacks its value, or has one too many
 */
export function parseLongOptions(
  args: readonly string[],
  known: { readonly values: readonly string[]; readonly flags: readonly string[] },
): LongOptions {
  const values: (readonly [string, string])[] = [];
  const flags = new Set<string>();
  const operands: string[] = [];
  for (let at = 0; at < args.length; at += 1) {
    const word = args[at] ?? "";
    if (word === "--") {
      operands.push(...args.slice(at + 1));
      break;
    }
    if (!word.startsWith("-") || word === "-") {
      operands.push(word);
      continue;
    }
    const equals = word.startsWith("--") ? word.indexOf("=") : -1;
    const name = equals < 0 ? word : word.slice(0, equals);
    if (known.flags.includes(name)) {
      if (equals >= 0) throw usage(`option ${name} takes no value`);
      flags.add(name);
    } else if (known.values.includes(name)) {
      const value = equals < 0 ? args[(at += 1)] : word.slice(equals + 1);
      if (value === undefined) throw usage(`option ${name} needs a value`);
      values.push([name, value]);
    } else {
      throw usage(`unknown option ${shownText(name)}`);
    }
  }
  return { values, flags, operands };
}

function usage(text: string): CommandFailure {
  return new CommandFailure(exitCodes.usage, text);
}
