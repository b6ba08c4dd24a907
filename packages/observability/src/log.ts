/**
 * The log: one line per event on standard output, in the shape that log tools for Postfix read, or as JSON.
 *
 * `<ISO time> <host> <syslog_name>/<service>[<pid>]: <queue id>: text`. Whatever a client sent stays on its line:
 * control characters become `?`, as in Postfix. User names and passwords in URLs are cut out, and so is whatever
 * follows AUTH or Bearer.
 *
 * With `log_format = json` the same facts are members of one object per line: `time`, `host`, `program`, `pid`, `level`,
 * `id` where there is one, and either `text` or, for the events of events.ts, `event` and the fields of the text line as
 * values. Cleaned alike.
 *
 * Lines of one turn of the event loop leave in one write; what is still held when the process exits is written
 * synchronously.
 *
 * Source: DESIGN "observability"; STYLE §6; spec security.md 3 and 14; Postfix src/util/printable.c.
 */
import { hostname } from "node:os";
import type { QueueId } from "@postmq/vocabulary";

export type Log = {
  info(text: string, id?: QueueId): void;
  warning(text: string, id?: QueueId): void;
  error(text: string, id?: QueueId): void;
  /** Only a log that wants fields instead of a text has it: nobody else pays for them. */
  record?(event: LogEvent, id?: QueueId): void;
  /** The same log for lines that readers look for under another service's name. */
  inNameOf?(service: string): Log;
};

/** The log's formats; parameter log_format. */
export const logFormats = ["postfix", "json"] as const;
export type LogFormat = (typeof logFormats)[number];

/** An event's name and its facts, those that it lacks undefined. */
export type LogEvent = {
  readonly event: string;
  readonly [field: string]: string | number | boolean | readonly number[] | undefined;
};

export type LogOptions = {
  /** Parameter syslog_name. */
  readonly syslogName: string;
  readonly service: string;
  /** Parameter log_format; default postfix. */
  readonly format?: LogFormat;
  /** Takes whole lines; standard output if absent. */
  readonly write?: (lines: string) => void;
  readonly nowMs?: () => number;
};

/** A log of this process. */
export function openLog(options: LogOptions): Log {
  const time = isoClock(options.nowMs ?? Date.now);
  const write = options.write ?? openStandardOutput();
  const logs = new Map<string, Log>();
  const inNameOf = (service: string): Log => {
    const known = logs.get(service);
    if (known !== undefined) return known;
    const open = options.format === "json" ? openJsonLog : openTextLog;
    const log = { ...open({ ...options, service }, write, time), inNameOf };
    logs.set(service, log);
    return log;
  };
  return inNameOf(options.service);
}

type Write = (lines: string) => void;

function openTextLog(options: LogOptions, write: Write, time: () => string): Log {
  const tag = `${hostname()} ${options.syslogName}/${options.service}[${process.pid}]`;
  const line = (prefix: string, text: string, id: QueueId | undefined) => {
    const event = id === undefined ? `${prefix}${text}` : `${id}: ${prefix}${text}`;
    write(`${time()} ${tag}: ${clean(event)}\n`);
  };
  return {
    info: (text, id) => line("", text, id),
    warning: (text, id) => line("warning: ", text, id),
    error: (text, id) => line("error: ", text, id),
  };
}

function openJsonLog(options: LogOptions, write: Write, time: () => string): Log {
  const origin = {
    host: hostname(),
    program: `${options.syslogName}/${options.service}`,
    pid: process.pid,
  };
  const line = (level: string, id: QueueId | undefined, facts: LogEvent | { text: string }) => {
    const members = { time: time(), ...origin, level, id, ...facts };
    write(`${JSON.stringify(members, (_, value) => cleanValue(value))}\n`);
  };
  return {
    info: (text, id) => line("info", id, { text }),
    warning: (text, id) => line("warning", id, { text }),
    error: (text, id) => line("error", id, { text }),
    record: (event, id) => line("info", id, event),
  };
}

/** The time of day; many lines share a millisecond. */
function isoClock(nowMs: () => number): () => string {
  let lastMs = Number.NaN;
  let time = "";
  return () => {
    const ms = nowMs();
    if (ms !== lastMs) {
      lastMs = ms;
      time = new Date(ms).toISOString();
    }
    return time;
  };
}

function cleanValue(value: unknown): unknown {
  return typeof value === "string" ? clean(value) : value;
}

/** Most lines need neither step; telling so is a tenth of the price of doing both. */
function clean(event: string): string {
  const redacted = /:\/\/|auth|bearer|basic/i.test(event) ? redact(event) : event;
  return /[^ -~]/.test(redacted) ? printable(redacted) : redacted;
}

/** Control characters, and those that terminals or log readers take for line ends, become `?`. */
export function printable(text: string): string {
  return text.replaceAll(/[\p{Cc}\u2028\u2029\p{Bidi_Control}]/gu, "?");
}

/** Cuts out user and password of URLs, and credentials after AUTH, Bearer and Basic. */
export function redact(text: string): string {
  return text
    .replaceAll(/\b([a-z][a-z0-9+.-]*:\/\/)\S*@/gi, "$1***@")
    .replaceAll(/\b(AUTH\s+[A-Z0-9-]+|Bearer|Basic)\s+[A-Za-z0-9+/=._~-]+/gi, "$1 ***");
}

/** Gathers lines for one turn of the event loop: one system call for many events. */
function openStandardOutput(): (lines: string) => void {
  let held = "";
  const flush = () => {
    const lines = held;
    held = "";
    if (lines !== "") process.stdout.write(lines);
  };
  // Writes to pipes, files and terminals are synchronous on Linux, so the last lines get out.
  process.on("exit", flush);
  process.stdout.on("error", () => {
    // Whoever read the log is gone; there is nobody left to tell, and mail must not wait for it.
  });
  return (lines) => {
    if (held === "") setImmediate(flush);
    held += lines;
  };
}
