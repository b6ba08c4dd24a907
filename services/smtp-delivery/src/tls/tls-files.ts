/**
 * Certificates and keys in files. A file that changes is read again, looked at once a second at most and only when a
 * session is about to begin; one that can't be read any more, or whose certificates are broken, keeps its last content
 * and says so.
 *
 * Source: postconf(5) smtp_tls_CAfile, smtp_tls_cert_file.
 */
import { X509Certificate } from "node:crypto";
import { readFileSync, readdirSync, statSync } from "node:fs";
import { join } from "node:path";

const recheckPauseMs = 1_000;

/** A file or directory can't be used. The message names it and says why. */
export class UnusableTlsFile extends Error {
  override readonly name = "UnusableTlsFile";
}

type Known<Content> = { readonly version: string; readonly content: Content };

export class TlsFiles {
  readonly #onWarning: (text: string) => void;
  readonly #nowMs: () => number;
  readonly #texts = new Map<string, WatchedPath<string>>();
  readonly #certificates = new Map<string, WatchedPath<readonly string[]>>();

  constructor(options: { onWarning: (text: string) => void; nowMs?: () => number }) {
    this.#onWarning = options.onWarning;
    this.#nowMs = options.nowMs ?? Date.now;
  }

  /** A file as it is: a key, a certificate with its chain. @throws UnusableTlsFile when it never could be read */
  text(path: string): string {
    return this.#watched(this.#texts, path, (file) => readFileSync(file, "utf8"));
  }

  /** The certificates in a file, or in all files of a directory. @throws UnusableTlsFile when there never were any */
  certificates(path: string): readonly string[] {
    return this.#watched(this.#certificates, path, readCertificates);
  }

  #watched<Content>(
    known: Map<string, WatchedPath<Content>>,
    path: string,
    read: (path: string) => Content,
  ): Content {
    let watched = known.get(path);
    if (watched === undefined) {
      watched = new WatchedPath(path, read, this.#onWarning);
      watched.content(this.#nowMs());
      known.set(path, watched);
    }
    return watched.content(this.#nowMs());
  }
}

class WatchedPath<Content> {
  readonly #path: string;
  readonly #read: (path: string) => Content;
  readonly #onWarning: (text: string) => void;
  #known: Known<Content> | undefined;
  #lookedAtMs = -Infinity;
  #hasFailed = false;

  constructor(path: string, read: (path: string) => Content, onWarning: (text: string) => void) {
    this.#path = path;
    this.#read = read;
    this.#onWarning = onWarning;
  }

  content(nowMs: number): Content {
    const known = this.#known;
    if (known !== undefined && Math.abs(nowMs - this.#lookedAtMs) < recheckPauseMs)
      return known.content;
    this.#lookedAtMs = nowMs;
    try {
      const content = this.#look();
      this.#hasFailed = false;
      return content;
    } catch (cause) {
      const problem = cause instanceof Error ? cause.message : String(cause);
      if (known === undefined) throw new UnusableTlsFile(`${this.#path}: ${problem}`, { cause });
      if (!this.#hasFailed)
        this.#onWarning(`${this.#path}: ${problem}; its last content still counts`);
      this.#hasFailed = true;
      return known.content;
    }
  }

  #look(): Content {
    const { ino, size, mtimeNs } = statSync(this.#path, { bigint: true });
    const version = `${ino} ${size} ${mtimeNs}`;
    if (this.#known?.version === version) return this.#known.content;
    const content = this.#read(this.#path);
    this.#known = { version, content };
    return content;
  }
}

const certificatePattern =
  /-----BEGIN (?:X509 |TRUSTED )?CERTIFICATE-----[\s\S]+?-----END (?:X509 |TRUSTED )?CERTIFICATE-----/g;

function readCertificates(path: string): readonly string[] {
  const files = statSync(path).isDirectory() ? filesOf(path) : [path];
  const texts = files.map((file) => readFileSync(file, "utf8"));
  const found = new Set(texts.flatMap((text) => text.match(certificatePattern) ?? []));
  if (found.size === 0) throw new Error("there is no certificate in it");
  // A broken one throws, so that what was there before goes on to count.
  return [...found].filter((pem) => new X509Certificate(pem).raw.length > 0);
}

function filesOf(directory: string): readonly string[] {
  return readdirSync(directory)
    .map((name) => join(directory, name))
    .filter((file) => statSync(file, { throwIfNoEntry: false })?.isFile() === true);
}
