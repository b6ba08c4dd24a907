/**
 * Changes the text of main.cf as `postconf -e`, `-X` and `-#` do: comments, order and all other lines stay.
 *
 * A parameter that is set takes its new value where it stands, its continuation lines go; one that is not is added at
 * the end. Comments and empty lines amid a value stay.
 *
 * Source: Postfix src/postconf/postconf_edit.c pcf_edit_main.
 */
export type MainCfEdit = {
  readonly kind: "set" | "remove" | "comment out";
  /** By name; the values of `set`, else empty. */
  readonly values: ReadonlyMap<string, string>;
};

/** @param onRepeated hears of a parameter that is set more than once; all of them are changed */
export function editMainCf(
  content: string,
  edit: MainCfEdit,
  onRepeated: (name: string) => void,
): string {
  const found = new Map<string, number>();
  const lines: string[] = [];
  let isInEdited = false;
  for (const line of linesOf(content)) {
    if (/^\s*(?:#|$)/.test(line)) {
      lines.push(line);
      continue;
    }
    if (!/^\s/.test(line)) {
      const name = /^[^\s=]*/.exec(line)?.[0] ?? "";
      isInEdited = edit.values.has(name);
      if (isInEdited) {
        const times = (found.get(name) ?? 0) + 1;
        found.set(name, times);
        if (times === 2) onRepeated(name);
        if (edit.kind === "set") lines.push(`${name} = ${edit.values.get(name) ?? ""}`);
      }
    }
    if (!isInEdited) lines.push(line);
    else if (edit.kind === "comment out") lines.push(`#${line}`);
  }
  if (edit.kind === "set") {
    for (const [name, value] of edit.values) {
      if (!found.has(name)) lines.push(`${name} = ${value}`);
    }
  }
  return lines.map((line) => `${line}\n`).join("");
}

function linesOf(content: string): readonly string[] {
  const lines = content.split("\n");
  return lines.at(-1) === "" ? lines.slice(0, -1) : lines;
}
