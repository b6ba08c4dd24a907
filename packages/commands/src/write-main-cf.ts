/**
 * Writes a changed main.cf: whole or not at all, under the mode and owner it had, checked before it is there.
 *
 * The new text goes into `main.cf.tmp` beside it, made only if it does not exist, so that two at once wait for each
 * other; it is read as a daemon would read it, synced, and renamed. One that died left its file behind: it is taken
 * away when it is older than any change takes. Somebody who changed main.cf by hand meanwhile loses nothing: the change
 * is made again on what is there.
 *
 * Source: Postfix src/util/edit_file.c.
 */
import { chownSync, closeSync, fsyncSync, openSync, readFileSync, realpathSync } from "node:fs";
import { chmodSync, renameSync, statSync, unlinkSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { setTimeout as pause } from "node:timers/promises";

import { editMainCf, environmentName, loadParameters, mainCfPath } from "@postmq/config";
import type { MainCfEdit, ParameterSource } from "@postmq/config";
import { isPostmqError } from "@postmq/vocabulary";

import { CommandFailure } from "./command.ts";
import type { CommandContext } from "./command.ts";

const fatal = 1;
const retryMs = 50;
const staleMs = 10_000;

/** @throws CommandFailure, and nothing is changed */
export async function writeMainCf(
  context: Pick<CommandContext, "complain" | "name">,
  source: ParameterSource,
  edit: MainCfEdit,
): Promise<void> {
  const warn = (text: string) => context.complain(`${context.name}: warning: ${text}\n`);
  const named = mainCfPath(source);
  const path = existing(named);
  const temporary = `${path}.tmp`;
  await openAlone(temporary);
  try {
    let before: string;
    do {
      before = readFileSync(path, "utf8");
      const after = editMainCf(before, edit, (name) =>
        warn(`${named}: multiple entries for "${name}"`),
      );
      writeSynced(temporary, after);
      assertTaken({ source, path, temporary, names: [...edit.values.keys()] }, warn);
    } while (readFileSync(path, "utf8") !== before);
    const { mode, uid, gid } = statSync(path);
    chmodSync(temporary, mode);
    if (process.getuid?.() === 0) chownSync(temporary, uid, gid);
    renameSync(temporary, path);
    syncDirectory(dirname(path));
  } catch (error) {
    unlinkIfThere(temporary);
    throw error instanceof CommandFailure ? error : failure(`edit ${named}`, error);
  }
  for (const name of edit.values.keys()) {
    const variable = [environmentName(name), `${environmentName(name)}_FILE`].find(
      (one) => source.env[one] !== undefined,
    );
    if (variable !== undefined) warn(`${variable} is set, which wins over main.cf`);
  }
}

/** The file behind all links: what is renamed over. */
function existing(path: string): string {
  try {
    return realpathSync(path);
  } catch (error) {
    throw failure(`open ${path} for reading`, error);
  }
}

/** Makes the file if nobody else is at it. */
async function openAlone(temporary: string): Promise<void> {
  for (;;) {
    try {
      closeSync(openSync(temporary, "wx", 0o600));
      return;
    } catch (error) {
      if (!isCode(error, "EEXIST")) throw failure(`open ${temporary}`, error);
    }
    if (Date.now() - modifiedMs(temporary) > staleMs) unlinkIfThere(temporary);
    else await pause(retryMs);
  }
}

function modifiedMs(path: string): number {
  return statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? Date.now();
}

function writeSynced(path: string, text: string): void {
  const file = openSync(path, "w", 0o600);
  try {
    writeFileSync(file, text);
    fsyncSync(file);
  } finally {
    closeSync(file);
  }
}

function syncDirectory(path: string): void {
  const directory = openSync(path, "r");
  try {
    fsyncSync(directory);
  } finally {
    closeSync(directory);
  }
}

type Check = {
  readonly source: ParameterSource;
  readonly path: string;
  readonly temporary: string;
  readonly names: readonly string[];
};

/**
 * The new file as a daemon would read it, with what is changed read from it even if the environment wins.
 *
 * @throws CommandFailure when it would not be taken; a fault that was there before only warns
 */
function assertTaken(
  { source, path, temporary, names }: Check,
  warn: (text: string) => void,
): void {
  const env = Object.fromEntries(
    Object.entries(source.env).filter(
      ([variable]) =>
        !names.some((name) =>
          [environmentName(name), `${environmentName(name)}_FILE`].includes(variable),
        ),
    ),
  );
  const problem = problemWith(temporary, env);
  if (problem === undefined) return;
  if (problem !== problemWith(path, env)) throw new CommandFailure(fatal, problem);
  warn(`${path} was wrong before: ${problem}`);
}

function problemWith(file: string, env: ParameterSource["env"]): string | undefined {
  try {
    loadParameters({ env: { ...env, POSTMQ_CONFIG: file } });
    return undefined;
  } catch (error) {
    if (!isPostmqError(error, "PMQ_CONFIG_INVALID")) throw error;
    return error.message.replaceAll(`${file}, line`, "main.cf, line");
  }
}

function unlinkIfThere(path: string): void {
  try {
    unlinkSync(path);
  } catch (error) {
    if (!isCode(error, "ENOENT")) throw failure(`remove ${path}`, error);
  }
}

function isCode(error: unknown, code: string): boolean {
  return error instanceof Error && "code" in error && error.code === code;
}

function failure(what: string, error: unknown): CommandFailure {
  const isMissing = isCode(error, "ENOENT");
  const reason = error instanceof Error ? error.message : String(error);
  return new CommandFailure(
    fatal,
    `${what}: ${isMissing ? "No such file or directory" : reason}`,
    error,
  );
}
