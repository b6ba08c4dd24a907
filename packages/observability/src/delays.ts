/**
 * Delays as Postfix logs them: seconds with two significant digits.
 *
 * Source: spec delivery.md §8; Postfix src/global/log_adhoc.c, src/util/format_tv.c; postconf(5)
 * delay_logging_resolution_limit.
 */

/** The four spans of a delivery attempt in ms, of which Postfix's `delays=a/b/c/d` is made. */
export type DeliveryDelaysMs = {
  /** Arrival to active. */
  readonly beforeActive: number;
  /** Active to the delivery agent. */
  readonly inActive: number;
  /** Connection set-up, with DNS, EHLO, TLS and servers that failed before. */
  readonly connectionSetup: number;
  readonly transmission: number;
};

/**
 * Seconds with at most two significant digits and `maxDecimals` decimals, without trailing zeros:
 * 0, 0.07, 0.3, 1.2, 12, 312. Negative spans (a clock step) are 0.
 */
export function formatDelay(ms: number, maxDecimals: number): string {
  const us = Math.max(0, Math.round(ms * 1000));
  let seconds = Math.floor(us / 1e6);
  const decimals = Math.min(maxDecimals, 6);
  if (seconds >= 100) return String(Math.floor(us / 1e6 + 0.5));
  // How many decimals two significant digits leave; format_tv.c rounds half up at the last one it keeps.
  const kept = Math.min(decimals, significantDecimals(us));
  const unit = 10 ** (6 - kept);
  const rounded = Math.floor((us + unit / 2) / unit) * unit;
  seconds = Math.floor(rounded / 1e6);
  const fraction = String(rounded % 1e6)
    .padStart(6, "0")
    .slice(0, kept)
    .replace(/0+$/, "");
  return fraction === "" ? String(seconds) : `${seconds}.${fraction}`;
}

/** Decimals at which the second significant digit stands. */
function significantDecimals(us: number): number {
  if (us >= 10e6) return 0;
  if (us >= 1e6) return 1;
  if (us >= 1e5) return 2;
  if (us >= 1e4) return 3;
  if (us >= 1e3) return 4;
  if (us >= 1e2) return 5;
  return 6;
}

/** The spans without negative ones (a clock step), and their sum, from arrival to the end. */
export function delaySpans(delays: DeliveryDelaysMs): {
  readonly total: number;
  readonly spans: readonly number[];
} {
  const spans = [
    delays.beforeActive,
    delays.inActive,
    delays.connectionSetup,
    delays.transmission,
  ].map((ms) => Math.max(0, ms));
  return { total: spans.reduce((sum, ms) => sum + ms, 0), spans };
}

/** `delay=T, delays=a/b/c/d`. */
export function formatDelays(delays: DeliveryDelaysMs, maxDecimals: number): string {
  const { total, spans } = delaySpans(delays);
  const format = (ms: number) => formatDelay(ms, maxDecimals);
  return `delay=${format(total)}, delays=${spans.map(format).join("/")}`;
}
