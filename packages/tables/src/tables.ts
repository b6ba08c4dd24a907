/**
 * Lookup tables, by Postfix's names `type:name`: inline, static, texthash, hash, regexp and pcre.
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
import { inlineRules, RegexpTable } from "./regexp-table.ts";
import type { PatternLanguage } from "./regexp-table.ts";
import { parseTable } from "./table-text.ts";

const recheckPauseMs = 1_000;

export type Tables = {
  /** The value of the first table that has the key, in any case (regexp and pcre: as their patterns say). */
  lookup(key: string): string | undefined;
  /** The same for a part of what is looked up (`@domain` of an address), which no pattern is held against. */
  lookupPart(key: string): string | undefined;
  /** Every value there is, as it is written: for those who check them at start. */
  values(): readonly string[];
  /** Grows whenever a file's new content is taken; files are looked at again as for a lookup. */
  generation(): number;
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

type Table = {
  /** @param folded the key in lower case */
  lookup(folded: string, key: string): string | undefined;
  values(): readonly string[];
  readonly hasPatterns: boolean;
  generation(): number;
};
/** What a file says, and what is odd in it. */
type Reading = {
  readonly content: Omit<Table, "generation">;
  readonly warnings: readonly string[];
};

/** @throws PMQ_TABLE_UNREADABLE naming the parameter and the table. */
export async function openTables(
  specs: readonly string[],
  options: TablesOptions,
): Promise<Tables> {
  const tables = specs.map((spec) => openTable(spec, options));
  const plainTables = tables.filter(({ hasPatterns }) => !hasPatterns);
  return {
    isEmpty: tables.length === 0,
    values: () => tables.flatMap((table) => table.values()),
    generation: () => tables.reduce((sum, table) => sum + table.generation(), 0),
    lookup: (key) => lookupIn(tables, key),
    lookupPart: (key) => lookupIn(plainTables, key),
  };
}

function lookupIn(tables: readonly Table[], key: string): string | undefined {
  const folded = key.toLowerCase();
  for (const table of tables) {
    const value = table.lookup(folded, key);
    if (value !== undefined) return value;
  }
  return undefined;
}

function openTable(spec: string, options: TablesOptions): Table {
  const colon = spec.indexOf(":");
  const type = spec.slice(0, Math.max(colon, 0));
  const name = spec.slice(colon + 1);
  switch (type) {
    case "inline":
      return openInline(spec, name, options);
    case "static":
      return openStatic(name);
    case "texthash":
    case "hash":
      return new FileTable(spec, name, options, readPairs);
    case "regexp":
    case "pcre":
      return openPatterns(spec, name, type, options);
    default:
      throw unreadable(
        spec,
        options,
        `"${type}" is not a table type here (inline, static, texthash, hash, regexp, pcre)`,
      );
  }
}

/** {value} is how a value with white space is written in a list. */
function openStatic(text: string): Table {
  const value = text.replace(/^\{\s*([\s\S]*?)\s*\}$/, "$1");
  return { lookup: () => value, values: () => [value], hasPatterns: false, generation: () => 0 };
}

function openInline(spec: string, text: string, options: TablesOptions): Table {
  const entries = namingTable(spec, options, () => parseInlineTable(text));
  return { ...pairs(entries), generation: () => 0 };
}

function openPatterns(
  spec: string,
  name: string,
  language: PatternLanguage,
  options: TablesOptions,
): Table {
  if (!name.startsWith("{")) {
    return new FileTable(spec, name, options, (text) => readPatterns(text, language));
  }
  const { content } = namingTable(spec, options, () => readPatterns(inlineRules(name), language));
  return { ...content, generation: () => 0 };
}

function namingTable<Result>(spec: string, options: TablesOptions, parse: () => Result): Result {
  try {
    return parse();
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    throw unreadable(spec, options, error.message, error);
  }
}

function readPairs(text: string, fileName: string): Reading {
  const { entries, warnings } = parseTable(text, fileName);
  return { content: pairs(entries), warnings };
}

function readPatterns(text: string, language: PatternLanguage): Reading {
  const table = new RegexpTable(text, language);
  return {
    content: {
      lookup: (_folded, key) => table.lookup(key),
      values: () => table.values(),
      hasPatterns: true,
    },
    warnings: [],
  };
}

function pairs(entries: ReadonlyMap<string, string>): Reading["content"] {
  return {
    lookup: (folded) => entries.get(folded),
    values: () => [...entries.values()],
    hasPatterns: false,
  };
}

/** A text file that is read again when it changes. */
class FileTable implements Table {
  readonly #spec: string;
  readonly #fileName: string;
  readonly #options: TablesOptions;
  readonly #nowMs: () => number;
  readonly #parse: (text: string, fileName: string) => Reading;
  #content: Reading["content"] = pairs(new Map());
  #version = "";
  #generation = 0;
  #checkedAtMs: number;
  #hasFailed = false;

  constructor(
    spec: string,
    fileName: string,
    options: TablesOptions,
    parse: (text: string, fileName: string) => Reading,
  ) {
    this.#parse = parse;
    this.#spec = spec;
    this.#fileName = fileName;
    this.#options = options;
    this.#nowMs = options.nowMs ?? Date.now;
    this.#checkedAtMs = this.#nowMs();
    this.#read();
  }

  lookup(folded: string, key: string): string | undefined {
    this.#recheck();
    return this.#content.lookup(folded, key);
  }

  generation(): number {
    this.#recheck();
    return this.#generation;
  }

  values(): readonly string[] {
    return this.#content.values();
  }

  get hasPatterns(): boolean {
    return this.#content.hasPatterns;
  }

  #recheck(): void {
    const nowMs = this.#nowMs();
    if (Math.abs(nowMs - this.#checkedAtMs) < recheckPauseMs) return;
    this.#checkedAtMs = nowMs;
    this.#reread();
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
      const text = readFileSync(this.#fileName, "utf8");
      const { content, warnings } = this.#parse(text, this.#fileName);
      this.#content = content;
      this.#version = version;
      this.#generation += 1;
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
