/**
 * OpenSSL's settings for a session, made once for all policies that want the same and kept until a file behind them
 * changes. When what a changed file says can't be used (a new certificate whose key is not there yet), the settings
 * stay as they were, with a warning.
 */
import { rootCertificates, createSecureContext } from "node:tls";
import type { SecureContext } from "node:tls";

import type { ProtocolRange } from "./protocol-range.ts";
import { UnusableTlsFile } from "./tls-files.ts";
import type { TlsFiles } from "./tls-files.ts";

export type ContextWish = {
  readonly protocols: ProtocolRange;
  readonly ciphers: string;
  readonly trust: Trust;
};

/** anchors: only what these files hold, which need not be roots. */
export type Trust =
  | {
      readonly kind: "authorities";
      /** Files and directories. Empty: Node's own list. */
      readonly paths: readonly string[];
      /** Node's own list too. */
      readonly appendsDefault: boolean;
    }
  | { readonly kind: "anchors"; readonly paths: readonly string[] };

/** Files of our own certificate; empty: none. */
export type ClientCertificate = { readonly certFile: string; readonly keyFile: string };

type Made = { readonly context: SecureContext; readonly parts: readonly unknown[] };

export class SecureContexts {
  readonly #files: TlsFiles;
  readonly #client: ClientCertificate;
  readonly #onWarning: (text: string) => void;
  readonly #made = new Map<string, Made>();

  constructor(
    files: TlsFiles,
    client: ClientCertificate,
    options: { readonly onWarning: (text: string) => void },
  ) {
    this.#files = files;
    this.#client = client;
    this.#onWarning = options.onWarning;
  }

  /** @throws UnusableTlsFile when there is no earlier one to stay with */
  contextFor(wish: ContextWish): SecureContext {
    const key = JSON.stringify(wish);
    const known = this.#made.get(key);
    const parts = [...this.#authorities(wish.trust), ...this.#clientParts()];
    if (known !== undefined && isSame(known.parts, parts)) return known.context;
    const context = this.#make(wish, known);
    this.#made.set(key, { context, parts });
    return context;
  }

  #make(wish: ContextWish, known: Made | undefined): SecureContext {
    const [cert, key] = this.#clientParts();
    const ca = this.#authorities(wish.trust).flat();
    try {
      return createSecureContext({
        minVersion: wish.protocols.min,
        maxVersion: wish.protocols.max,
        ciphers: wish.ciphers,
        allowPartialTrustChain: wish.trust.kind === "anchors",
        ...(ca.length === 0 ? {} : { ca }),
        ...(cert === undefined ? {} : { cert, key }),
      });
    } catch (cause) {
      const problem = cause instanceof Error ? cause.message : String(cause);
      const what = cert === undefined ? "TLS settings" : this.#client.certFile;
      if (known === undefined)
        throw new UnusableTlsFile(`${what} can't be used: ${problem}`, { cause });
      this.#onWarning(`${what} can't be used: ${problem}; what was there before still counts`);
      return known.context;
    }
  }

  /** One array per path, the same one as long as nothing changes. */
  #authorities(trust: Trust): readonly (readonly string[])[] {
    const lists = trust.paths.map((path) => this.#files.certificates(path));
    const addsDefault = trust.kind === "authorities" && trust.appendsDefault && lists.length > 0;
    return addsDefault ? [...lists, rootCertificates] : lists;
  }

  #clientParts(): readonly string[] {
    const { certFile, keyFile } = this.#client;
    if (certFile === "") return [];
    return [this.#files.text(certFile), this.#files.text(keyFile === "" ? certFile : keyFile)];
  }
}

function isSame(a: readonly unknown[], b: readonly unknown[]): boolean {
  return a.length === b.length && a.every((part, at) => part === b[at]);
}
