/**
 * Lookup tables, by Postfix's names `type:name`: inline, static, texthash and hash.
 *
 * hash and texthash both read the source text, not a compiled file: there is no postmap step to forget. A file that
 * changes is read again, at most once a second and only when somebody looks something up; one that can't be read
 * any more keeps its last content and says so, since a lookup without an answer must not turn mail away.
 *
 * The order in which keys are tried (user@domain, domain, parents) belongs to whoever uses a table.
 *
 * Source: postconf(5) "lookup tables"; DATABASE_README; spec rewriting-and-checks.md §7.
 */
import { readFileSync, statSync } from "node:fs";
import { PostmqError } from "@postmq/vocabulary";
import { parseInlineTable } from "./inline-table.ts";
import { parseTable } from "./table-text.ts";

const recheckPauseMs = 1_000;

export type Tables = {
  /** The value of the first table that has the key, in any case. */
  lookup(key: string): string | undefined;
  /** No table is listed. */
  readonly isEmpty: boolean;
};

export type TablesOptions = {
  /** Named in every error. */
  readonly parameterName: string;
  readonly onWarning?: (text: string) => void;
  /** For deciding when a file is looked at again; this machine's clock if absent. */
  readonly nowMs?: () => number;
};

type Table = { lookup(key: string): string | undefined };

/** @throws PMQ_TABLE_UNREADABLE naming the parameter and the table. */
export async function openTables(
  specs: readonly string[],
  options: TablesOptions,
): Promise<Tables> {
  const tables = specs.map((spec) => openTable(spec, options));
  return {
    isEmpty: tables.length === 0,
    lookup: (key) => {
      const folded = key.toLowerCase();
      for (const table of tables) {
        const value = table.lookup(folded);
        if (value !== undefined) return value;
      }
      return undefined;
    },
  };
}

function openTable(spec: string, options: TablesOptions): Table {
  const colon = spec.indexOf(":");
  const type = spec.slice(0, Math.max(colon, 0));
  const name = spec.slice(colon + 1);
  switch (type) {
    case "inline":
      return openInline(spec, name, options);
    case "static":
      // {value} is how a value with white space is written in a list.
      return { lookup: () => name.replace(/^\{\s*([\s\S]*?)\s*\}$/, "$1") };
    case "texthash":
    case "hash":
      return new FileTable(spec, name, options);
    default:
      throw unreadable(
        spec,
        options,
        `"${type}" is not a table type here (inline, static, texthash, hash)`,
      );
  }
}

function openInline(spec: string, text: string, options: TablesOptions): Table {
  try {
    const entries = parseInlineTable(text);
    return { lookup: (key) => entries.get(key) };
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    throw unreadable(spec, options, error.message, error);
  }
}

/** A text file that is read again when it changes. */
class FileTable implements Table {
  readonly #spec: string;
  readonly #fileName: string;
  readonly #options: TablesOptions;
  readonly #nowMs: () => number;
  #entries: ReadonlyMap<string, string> = new Map();
  #version = "";
  #checkedAtMs: number;
  #hasFailed = false;

  constructor(spec: string, fileName: string, options: TablesOptions) {
    this.#spec = spec;
    this.#fileName = fileName;
    this.#options = options;
    this.#nowMs = options.nowMs ?? Date.now;
    this.#checkedAtMs = this.#nowMs();
    this.#read();
  }

  lookup(key: string): string | undefined {
    const nowMs = this.#nowMs();
    if (Math.abs(nowMs - this.#checkedAtMs) >= recheckPauseMs) {
      this.#checkedAtMs = nowMs;
      this.#reread();
    }
    return this.#entries.get(key);
  }

  #reread(): void {
    try {
      this.#read();
      this.#hasFailed = false;
    } catch (error) {
      if (!(error instanceof PostmqError)) throw error;
      if (!this.#hasFailed)
        this.#options.onWarning?.(`${error.message}; its last content still counts`);
      this.#hasFailed = true;
    }
  }

  /** Reads the file unless it is the one that was read last. */
  #read(): void {
    try {
      const { ino, size, mtimeNs } = statSync(this.#fileName, { bigint: true });
      const version = `${ino} ${size} ${mtimeNs}`;
      if (version === this.#version) return;
      const { entries, warnings } = parseTable(
        readFileSync(this.#fileName, "utf8"),
        this.#fileName,
      );
      this.#entries = entries;
      this.#version = version;
      for (const warning of warnings) this.#options.onWarning?.(warning);
    } catch (cause) {
      throw unreadable(this.#spec, this.#options, systemError(cause), cause);
    }
  }
}

function systemError(error: unknown): string {
  const code = error instanceof Error && "code" in error ? String(error.code) : "";
  if (code === "ENOENT") return "no such file";
  if (code === "EACCES") return "permission denied";
  return error instanceof Error ? error.message : String(error);
}

function unreadable(
  spec: string,
  options: TablesOptions,
  problem: string,
  cause?: unknown,
): PostmqError {
  return new PostmqError(
    "PMQ_TABLE_UNREADABLE",
    `parameter ${options.parameterName}: table ${spec}: ${problem}`,
    { facts: { parameter: options.parameterName, table: spec }, cause },
  );
}
