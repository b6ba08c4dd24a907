/**
 * Which names Postfix knows, so that a Postfix main.cf is taken with warnings and a typing error is refused.
 *
 * The list is a data file made from `postconf -d`; per-transport forms are in `transport-parameters.ts`.
 *
 * Source: postconf(5); spec parameters.md.
 */
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

/** All names in the data file. Read anew at each call; ask once. */
export function readPostfixNames(): ReadonlySet<string> {
  const file = fileURLToPath(new URL("postfix-parameter-names.txt", import.meta.url));
  const lines = readFileSync(file, "utf8").split("\n");
  return new Set(lines.filter((line) => line !== "" && !line.startsWith("#")));
}
