/** The table that a comparison prints: what both sides did, and by which rule they may differ. */
import type { Pair } from "./mail-systems.ts";

export class ParityTable {
  readonly #rows: (readonly string[])[] = [["scene", "what", "Postfix", "postmq", "may differ by"]];

  /** @param mayDiffer the rule and how much; "" for not at all */
  add(scene: string, what: string, sides: Pair<unknown>, mayDiffer = ""): void {
    this.#rows.push([scene, what, show(sides.postfix), show(sides.postmq), mayDiffer]);
  }

  toString(): string {
    const widths = (this.#rows[0] ?? []).map((_, column) =>
      Math.max(...this.#rows.map((row) => row[column]?.length ?? 0)),
    );
    const lines = this.#rows.map((row) =>
      row.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join(" | "),
    );
    return lines.map((line) => line.trimEnd()).join("\n");
  }
}

function show(value: unknown): string {
  return Array.isArray(value) ? value.map(show).join(" ") : String(value);
}

/** Seconds with one decimal. */
export function seconds(ms: number): string {
  return `${(ms / 1000).toFixed(1)} s`;
}
