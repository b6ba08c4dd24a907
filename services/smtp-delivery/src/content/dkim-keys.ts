/**
 * The keys that mail of a domain is signed with.
 *
 * `dkim_keys` names, for a domain, `selector=name key=/file` as often as there are keys; a domain without an entry uses
 * that of its nearest parent. A file holds one private key in PEM (RSA of 1024 bits or more, or Ed25519). Every file that
 * the tables name is read at start, and a bad one ends the process; later it is read again when it has changed, at most
 * once a second. One that went bad keeps its last content, with a warning.
 *
 * Important: what is in a key file reaches neither log nor error text.
 *
 * Source: RFC 6376 §3.1, §3.3; RFC 8301 §3.2; RFC 8463; spec security.md 14.
 */
import { createPrivateKey } from "node:crypto";
import { readFileSync, statSync } from "node:fs";

import type { Tables } from "@postmq/tables";
import { PostmqError } from "@postmq/vocabulary";

export type DkimKey = {
  readonly selector: string;
  readonly pem: Buffer;
};

export type SigningIdentity = {
  /** Of the signature: the author's domain or a parent of it. */
  readonly domain: string;
  readonly keys: readonly DkimKey[];
};

export type DkimKeysOptions = {
  readonly onWarning: (text: string) => void;
  /** For deciding when a file is looked at again; this machine's clock if absent. */
  readonly nowMs?: () => number;
};

type KeyPlace = { readonly selector: string; readonly path: string };

const recheckPauseMs = 1_000;
const shortestRsaBits = 1_024;

export class DkimKeys {
  readonly #tables: Tables;
  readonly #options: DkimKeysOptions;
  readonly #files = new Map<string, KeyFile>();

  /** @throws PMQ_TABLE_UNREADABLE naming the entry or the file that is not as it should be. */
  constructor(tables: Tables, options: DkimKeysOptions) {
    this.#tables = tables;
    this.#options = options;
    for (const value of tables.values()) {
      for (const { path } of parsePlaces(value)) this.#file(path).pem();
    }
  }

  /**
   * Who signs mail of this domain; undefined: nobody.
   *
   * @throws PMQ_TABLE_UNREADABLE when an entry that was added since the start is not as it should be
   */
  identityFor(authorDomain: string): SigningIdentity | undefined {
    for (let domain = authorDomain.toLowerCase(); domain !== ""; domain = parentOf(domain)) {
      const value = this.#tables.lookup(domain);
      if (value === undefined) continue;
      const keys = parsePlaces(value).map(({ selector, path }) => ({
        selector,
        pem: this.#file(path).pem(),
      }));
      return { domain, keys };
    }
    return undefined;
  }

  /** Grows when a key or a table has changed; files are looked at again as for a signature. */
  generation(): number {
    let sum = this.#tables.generation();
    for (const file of this.#files.values()) sum += file.generation();
    return sum;
  }

  #file(path: string): KeyFile {
    const known = this.#files.get(path);
    if (known !== undefined) return known;
    const file = new KeyFile(path, this.#options);
    this.#files.set(path, file);
    return file;
  }
}

function parentOf(domain: string): string {
  const dot = domain.indexOf(".");
  return dot < 0 ? "" : domain.slice(dot + 1);
}

function parsePlaces(value: string): readonly KeyPlace[] {
  const words = value.trim().split(/\s+/);
  const places: KeyPlace[] = [];
  for (let at = 0; at < words.length; at += 2) {
    const selector = /^selector=([A-Za-z0-9](?:[A-Za-z0-9._-]{0,200}[A-Za-z0-9])?)$/.exec(
      words[at] ?? "",
    )?.[1];
    const path = /^key=(\/.+)$/.exec(words[at + 1] ?? "")?.[1];
    if (selector === undefined || path === undefined) {
      throw unusable(`"${value.slice(0, 200)}" is not selector=name key=/file, once or more often`);
    }
    places.push({ selector, path });
  }
  return places;
}

/** A file that is read again when it changes. */
class KeyFile {
  readonly #path: string;
  readonly #onWarning: (text: string) => void;
  readonly #nowMs: () => number;
  #pem: Buffer | undefined;
  #version = "";
  #checkedAtMs = -Infinity;
  #hasFailed = false;
  #generation = 0;

  constructor(path: string, { onWarning, nowMs = Date.now }: DkimKeysOptions) {
    this.#path = path;
    this.#onWarning = onWarning;
    this.#nowMs = nowMs;
  }

  /** @throws PMQ_TABLE_UNREADABLE when there never was a usable key. */
  pem(): Buffer {
    const nowMs = this.#nowMs();
    if (this.#pem !== undefined && Math.abs(nowMs - this.#checkedAtMs) < recheckPauseMs) {
      return this.#pem;
    }
    this.#checkedAtMs = nowMs;
    try {
      this.#pem = this.#read() ?? this.#pem;
      this.#hasFailed = false;
    } catch (cause) {
      const problem = unusable(`key file ${this.#path}: ${problemOf(cause)}`);
      if (this.#pem === undefined) throw problem;
      if (!this.#hasFailed) this.#onWarning(`${problem.message}; its last content still counts`);
      this.#hasFailed = true;
    }
    return this.#pem ?? Buffer.alloc(0);
  }

  generation(): number {
    if (this.#pem !== undefined) this.pem();
    return this.#generation;
  }

  /** @returns undefined: it is what was read last. */
  #read(): Buffer | undefined {
    const { ino, size, mtimeNs, mode } = statSync(this.#path, { bigint: true });
    const version = `${ino} ${size} ${mtimeNs}`;
    if (version === this.#version) return undefined;
    const pem = readFileSync(this.#path);
    checkKey(pem);
    this.#version = version;
    this.#generation += 1;
    if ((mode & 0o007n) !== 0n) {
      this.#onWarning(`dkim_keys: key file ${this.#path} can be read by everybody on this machine`);
    }
    return pem;
  }
}

/** @throws RangeError */
function checkKey(pem: Buffer): void {
  const key = parseKey(pem);
  const { asymmetricKeyType: type, asymmetricKeyDetails: details } = key;
  if (type === "ed25519") return;
  if (type !== "rsa") throw new RangeError("neither an RSA nor an Ed25519 key");
  const bits = details?.modulusLength ?? 0;
  if (bits < shortestRsaBits) {
    throw new RangeError(`an RSA key of ${bits} bits; ${shortestRsaBits} are the least`);
  }
}

/** OpenSSL's words may say something of the content: they are left out. */
function parseKey(pem: Buffer) {
  try {
    return createPrivateKey(pem);
  } catch {
    throw new RangeError("not a private key in PEM without a passphrase");
  }
}

function problemOf(error: unknown): string {
  const code = error instanceof Error && "code" in error ? String(error.code) : "";
  if (code === "ENOENT") return "no such file";
  if (code === "EACCES") return "permission denied";
  if (error instanceof RangeError) return error.message;
  return code === "" ? "can't be read" : code;
}

function unusable(problem: string): PostmqError {
  return new PostmqError("PMQ_TABLE_UNREADABLE", `parameter dkim_keys: ${problem}`, {
    facts: { parameter: "dkim_keys" },
  });
}
