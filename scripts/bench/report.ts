/** The figures of a bench, as a table for people and as JSON for programs. */
import type { Measurement } from "./measured-run.ts";

export type Comparison = {
  readonly load: string;
  /** Ours first. */
  readonly relays: readonly { readonly name: string; readonly measurement: Measurement }[];
};

/** Parts of postmq with a column of their own; the rest is summed up in "others". */
const ownColumns = ["smtpd", "qmgr", "smtp-delivery", "redis"];

type Row = readonly string[];

export function asTable(comparisons: readonly Comparison[]): string {
  return comparisons.map((comparison) => `${comparison.load}\n${table(comparison)}`).join("\n");
}

function table({ relays }: Comparison): string {
  const header: Row = [
    "",
    "accept/s",
    "end to end/s",
    "CPU us/msg",
    "sink+source",
    "normalised",
    "peak PSS MB",
  ];
  const rows = relays.map(({ name, measurement }): Row => [
    name,
    measurement.acceptPerSecond.toFixed(0),
    measurement.endToEndPerSecond.toFixed(0),
    measurement.totalCpuUs.toFixed(0),
    measurement.loadCpuUs.toFixed(0),
    (measurement.totalCpuUs / measurement.loadCpuUs).toFixed(2),
    measurement.peakPssMb.toFixed(0),
  ]);
  return align([header, ...rows]) + partsLine(relays) + ratioLine(relays);
}

function partsLine([ours]: Comparison["relays"]): string {
  if (ours === undefined) return "";
  const { cpuUs, totalCpuUs } = ours.measurement;
  const own = ownColumns.map((part) => [part, cpuUs.get(part) ?? 0] as const);
  const others = totalCpuUs - own.reduce((total, [, us]) => total + us, 0);
  const parts = [...own, ["others", others] as const].map(
    ([part, us]) => `${part} ${us.toFixed(0)}`,
  );
  return `  of it: ${parts.join(", ")}\n`;
}

function ratioLine([ours, peer]: Comparison["relays"]): string {
  if (ours === undefined || peer === undefined) return "";
  const { rate, cpu } = ratios(ours.measurement, peer.measurement);
  return `  against ${peer.name}: ${rate.toFixed(2)} times the rate, ${cpu.toFixed(2)} of the CPU\n`;
}

function ratios(ours: Measurement, peer: Measurement) {
  return {
    rate: ours.endToEndPerSecond / peer.endToEndPerSecond,
    cpu: ours.totalCpuUs / peer.totalCpuUs,
  };
}

function align(rows: readonly Row[]): string {
  const widths = (rows[0] ?? []).map((_, column) =>
    Math.max(...rows.map((row) => (row[column] ?? "").length)),
  );
  return rows
    .map((row) => {
      const cells = row.map((cell, column) => {
        const width = widths[column] ?? 0;
        return column === 0 ? cell.padEnd(width) : cell.padStart(width);
      });
      return `  ${cells.join("  ")}\n`;
    })
    .join("");
}

export function asJson(
  comparisons: readonly Comparison[],
  options: { readonly messages: number; readonly sessions: number; readonly lengthBytes: number },
) {
  return {
    messages: options.messages,
    sessions: options.sessions,
    lengthBytes: options.lengthBytes,
    loads: comparisons.map(({ load, relays }) => ({
      load,
      relays: relays.map(({ name, measurement }) => ({
        name,
        ...measurement,
        cpuUs: Object.fromEntries(measurement.cpuUs),
        normalisedCpu: measurement.totalCpuUs / measurement.loadCpuUs,
      })),
    })),
  };
}
