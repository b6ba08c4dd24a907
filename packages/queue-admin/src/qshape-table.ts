/**
 * The table that qshape prints: how many recipients wait for each domain, by age.
 *
 * The counts come from the store's indexes; this module adds parent domains (-p), sorts, and lays the columns out
 * exactly as Postfix's Perl script does.
 *
 * Source: spec A6 to A12; qshape(1); Postfix auxiliary/qshape/qshape.pl.
 */
import { qshapeAgeLimitsMs } from "@postmq/observability";
import type { QshapeRow } from "@postmq/queue-store";

export type QshapeLayout = {
  /** -b: number of age buckets. */
  readonly bucketCount: number;
  /** -t: upper bound of the first bucket, in minutes. */
  readonly unitMinutes: number;
  /** -l: each bucket is one unit wide; else each is as wide as all before it. */
  readonly isLinear: boolean;
  /** -w: width of the table in characters. */
  readonly width: number;
  /** -n: rows shown, TOTAL among them. Absent: all. */
  readonly maxRows?: number;
  /** -p with -m: a parent domain is shown if it has this many direct children. Absent: no parents. */
  readonly minSubdomains?: number;
};

/** Source: qshape(1). */
export const defaultQshapeLayout: QshapeLayout = {
  bucketCount: 10,
  unitMinutes: 5,
  isLinear: false,
  width: 80,
};

const minDomainWidth = 18;
const msPerMinute = 60_000;

type CountedName = { readonly name: string; readonly counts: readonly number[] };

/** Upper bounds of all buckets but the last, to ask the store for counts that fit the layout (A7). */
export function qshapeAgeLimits(layout: QshapeLayout): readonly number[] {
  return qshapeAgeLimitsMs(layout.bucketCount, layout.unitMinutes, layout.isLinear);
}

/** @param rows counts by domain, asked for with the limits of `qshapeAgeLimits` */
export function qshapeTable(rows: readonly QshapeRow[], layout: QshapeLayout): string {
  const parents =
    layout.minSubdomains === undefined ? [] : qshapeParents(rows, layout.minSubdomains);
  const total = { name: "TOTAL", counts: withTotal(sumColumns(rows, layout.bucketCount)) };
  const lines = [...[...rows, ...parents].map(lineOf), total]
    .toSorted((a, b) => sumOf(b) - sumOf(a) || a.name.length - b.name.length)
    .slice(0, layout.maxRows);

  const headings = columnHeadings(layout);
  const widths = headings.map((text, column) => columnWidth(text, total.counts[column] ?? 0));
  const used = widths.reduce((sum, width) => sum + width, 0);
  const domainWidth = Math.max(Math.max(layout.width, 80) - used, minDomainWidth);
  const line = (name: string, cells: readonly (string | number)[]) =>
    `${domainField(name, domainWidth)}${cells.map((cell, i) => String(cell).padStart(widths[i] ?? 0)).join("")}\n`;
  return [line("", headings), ...lines.map(({ name, counts }) => line(name, counts))].join("");
}

function lineOf({ domain, counts }: QshapeRow): CountedName {
  return { name: domain, counts: withTotal(counts) };
}

function withTotal(counts: readonly number[]): readonly number[] {
  return [counts.reduce((sum, count) => sum + count, 0), ...counts];
}

function sumOf(row: CountedName): number {
  return row.counts[0] ?? 0;
}

function sumColumns(rows: readonly QshapeRow[], columns: number): readonly number[] {
  const sums = Array.from({ length: columns }, () => 0);
  for (const { counts } of rows) addTo(sums, counts);
  return sums;
}

function addTo(sums: number[], counts: readonly number[]): void {
  for (const [column, count] of counts.entries()) sums[column] = (sums[column] ?? 0) + count;
}

/** T, the bounds in minutes, and the last bound once more with a plus (A7). */
function columnHeadings(layout: QshapeLayout): readonly string[] {
  const bounds = qshapeAgeLimits(layout).map((limit) => String(limit / msPerMinute));
  return ["T", ...bounds, `${bounds.at(-1) ?? "0"}+`];
}

/** Source: spec A8. */
function columnWidth(heading: string, count: number): number {
  const needed = Math.max(heading.length, String(count).length);
  return needed > 2 ? needed + 1 : 3;
}

/** Source: spec A8. */
function domainField(name: string, width: number): string {
  if (name.length <= width) return name.padStart(width);
  return name.startsWith(".") ? `.+${name.slice(2 - width)}` : `+${name.slice(1 - width)}`;
}

/** The rows of parent domains (A10): each domain counts for all of its own; those with too few children are left out. */
export function qshapeParents(
  rows: readonly QshapeRow[],
  minChildren: number,
): readonly QshapeRow[] {
  const parents = new Map<string, { readonly counts: number[]; readonly children: Set<string> }>();
  for (const { domain, counts } of rows) {
    for (
      let child = domain, up = parentOf(domain);
      up !== undefined;
      child = up, up = parentOf(up)
    ) {
      const parent = parents.get(up) ?? { counts: [], children: new Set() };
      addTo(parent.counts, counts);
      parent.children.add(child);
      parents.set(up, parent);
    }
  }
  return [...parents]
    .filter(([, parent]) => parent.children.size >= minChildren)
    .map(([domain, parent]) => ({ domain, counts: parent.counts }));
}

/** `a.b.example.com` and `.b.example.com` have the parents `.b.example.com` and `.example.com`; a top domain is none. */
function parentOf(name: string): string | undefined {
  const rest = /^\.?[^.]+\.(.*\..*)$/.exec(name)?.[1];
  return rest === undefined ? undefined : `.${rest}`;
}
