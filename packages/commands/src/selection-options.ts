/**
 * Selections on a command line: each part of the grammar is an option (`--older-than 5d --queue deferred`), and
 * operands are queue ids.
 *
 * Source: spec http-api.md §2, sendmail-queue.md §5, §7.
 */
import { isEmptySelection, parseSelection, selectionNames } from "@postmq/queue-admin";
import type { Selection } from "@postmq/queue-admin";
import { exitCodes } from "@postmq/vocabulary";

import { CommandFailure } from "./command.ts";
import { parseLongOptions } from "./long-options.ts";

/** Options of every selection, for usage texts. */
export const selectionUsage = `[--queue NAME[,NAME]] [--sender ADDRESS|'<>'] [--sender-domain DOMAIN] [--recipient ADDRESS]
    [--domain DOMAIN] [--client NAME|ADDRESS] [--older-than 5d] [--newer-than 1h30m] [--arrived-from TIME]
    [--arrived-to TIME] [--attempts '>=3'] [--size '>1M'] [--reason-matches RE2] [--id ID[,ID]] [--id-contains TEXT]
    [--sender-contains TEXT] [--recipient-contains TEXT] [ID]...`;

export type GivenSelection = {
  readonly selection: Selection;
  readonly flags: ReadonlySet<string>;
  /** Values of the command's own options, the last one of each. */
  readonly values: ReadonlyMap<string, string>;
};

/** On a command line `--reason` is why somebody does something. */
const optionOfReason = "--reason-matches";

/** Every command that takes a selection takes them. */
const configOptions = ["-c", "--config"];

function optionOf(name: string): string {
  return name === "reason" ? optionOfReason : `--${name.replaceAll("_", "-")}`;
}

const names = new Map(selectionNames.map((name) => [optionOf(name), name]));

/**
 * @param own options that the command has besides: names of flags and of options with values, with their hyphens
 * @throws CommandFailure, exit 64, for options; PMQ_USAGE for values that make no sense
 */
export function parseSelectionOptions(
  args: readonly string[],
  own: { readonly flags?: readonly string[]; readonly values?: readonly string[] },
  nowMs: number,
): GivenSelection {
  const { flags, values, operands } = parseLongOptions(args, {
    values: [...names.keys(), ...configOptions, ...(own.values ?? [])],
    flags: own.flags ?? [],
  });
  const pairs = values.flatMap(([option, value]) => {
    const name = names.get(option);
    return name === undefined ? [] : [[name, value] as const];
  });
  const ids = operands.map((operand) => ["id", operand] as const);
  const selection = parseSelection([...pairs, ...ids], { nowMs, shownName: optionOf });
  return { selection, flags, values: new Map(values.filter(([option]) => !names.has(option))) };
}

/** The configuration that -c or --config named. */
export function configOf({ values }: GivenSelection): string | undefined {
  return values.get("-c") ?? values.get("--config");
}

/** Whoever would change every message must say so. @throws CommandFailure, exit 64 */
export function assertMeant(selection: Selection, isAll: boolean): void {
  if (isAll || !isEmptySelection(selection)) return;
  throw new CommandFailure(
    exitCodes.usage,
    "nothing is selected; say which messages, or --all for every one. Nothing was changed",
  );
}
