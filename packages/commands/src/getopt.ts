/**
 * Options as getopt(3) reads them, in the order given: one letter, values attached or apart, operands anywhere.
 *
 * A general parser of command lines would not do: sendmail's options are older than its conventions (`-oi`, `-bp`,
 * `-q30m`), and the order of postsuper's matters.
 */
import { exitCodes } from "@postmq/vocabulary";

import { CommandFailure } from "./command.ts";

export type GivenOption = { readonly letter: string; readonly value: string };

export type GivenArguments = {
  readonly options: readonly GivenOption[];
  readonly operands: readonly string[];
};

/**
 * @param letters the options known: `x` has no value, `x:` has one, `x::` has one only if it is attached
 * @param meant what a word with options stands for, given the word after it
 * @throws CommandFailure, exit 64, in getopt's words
 */
export function getopt(
  args: readonly string[],
  letters: string,
  meant: (word: string, next: string | undefined) => string = (word) => word,
): GivenArguments {
  const options: GivenOption[] = [];
  const operands: string[] = [];
  for (let at = 0; at < args.length; at += 1) {
    const given = args[at] ?? "";
    const word = given.startsWith("-") ? meant(given, args[at + 1]) : given;
    if (word === "--") return { options, operands: [...operands, ...args.slice(at + 1)] };
    if (!word.startsWith("-") || word === "-") {
      operands.push(word);
      continue;
    }
    for (let i = 1; i < word.length; i += 1) {
      const letter = word[i] ?? "";
      const kind = valueKind(letters, letter);
      const attached = word.slice(i + 1);
      if (kind === "none") {
        options.push({ letter, value: "" });
        continue;
      }
      const value = attached !== "" || kind === "attached" ? attached : args[(at += 1)];
      if (value === undefined) throw usage(`option requires an argument -- '${letter}'`);
      options.push({ letter, value });
      break;
    }
  }
  return { options, operands };
}

/** The value of the last of several equal options, or undefined. */
export function lastValue(given: GivenArguments, letter: string): string | undefined {
  return given.options.findLast((option) => option.letter === letter)?.value;
}

function valueKind(letters: string, letter: string): "none" | "attached" | "required" {
  const at = letter === ":" ? -1 : letters.indexOf(letter);
  if (at < 0) throw usage(`invalid option -- '${letter}'`);
  if (letters[at + 1] !== ":") return "none";
  return letters[at + 2] === ":" ? "attached" : "required";
}

function usage(text: string): CommandFailure {
  return new CommandFailure(exitCodes.usage, text);
}
