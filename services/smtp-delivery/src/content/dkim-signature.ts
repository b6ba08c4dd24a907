/**
 * Makes DKIM signatures, with mailauth's signer, while content streams by.
 *
 * The signer's module is loaded when the first signature is wanted: it brings a lot along. It knows no oversigning
 * (naming a header once more than it is there, so that nobody can add one), so the names are put into its list of
 * headers; the version is pinned, and the tests beside this file verify the result.
 *
 * Source: RFC 6376 §3.5, §5.4, §8.15; mailauth 7.1 lib/dkim/dkim-signer.js.
 */
import { once } from "node:events";
import { createRequire } from "node:module";
import type { Writable } from "node:stream";

import type { SigningIdentity } from "./dkim-keys.ts";

export type SigningRules = {
  readonly canonicalization: string;
  readonly signedHeaders: readonly string[];
  readonly oversignedHeaders: readonly string[];
};

/** A header as mailauth holds it: `casedKey` goes into the signature's list, `line` into its hash. */
type HeaderRow = { readonly key: string; casedKey: string };

/** The parts of mailauth's signer that this module stands on. */
interface MailauthSigner extends Writable {
  /** Without their last line end. */
  readonly signatureHeaders: readonly string[];
  readonly errors: readonly { readonly selector?: string; readonly err: Error }[];
  messageHeaders(headers: { readonly parsed: readonly HeaderRow[] }): Promise<void>;
}

type SignerModule = { readonly DkimSigner: new (options: object) => MailauthSigner };

let loaded: SignerModule | undefined;

function loadSigner(): SignerModule {
  const require = createRequire(import.meta.url);
  loaded ??= require("mailauth/lib/dkim/dkim-signer.js") as SignerModule;
  return loaded;
}

/** A signature over content that is handed in piece by piece. */
export class DkimSignature {
  readonly #signer: MailauthSigner;
  #failure: Error | undefined;

  constructor({ domain, keys }: SigningIdentity, rules: SigningRules) {
    const { DkimSigner } = loadSigner();
    this.#signer = new DkimSigner({
      canonicalization: rules.canonicalization,
      headerList: signedNames(rules).join(":"),
      strict: true,
      signatureData: keys.map(({ selector, pem }) => ({
        signingDomain: domain,
        selector,
        privateKey: pem,
      })),
    });
    oversign(this.#signer, rules);
    this.#signer.on("error", (error) => {
      this.#failure = error;
    });
  }

  async write(piece: Buffer): Promise<void> {
    if (this.#failure !== undefined) throw this.#failure;
    if (!this.#signer.write(piece)) await once(this.#signer, "drain");
  }

  /** @returns a header for each key, with CRLF. @throws Error when one can't be made */
  async end(): Promise<Buffer> {
    if (this.#failure !== undefined) throw this.#failure;
    const finished = once(this.#signer, "finish");
    this.#signer.end();
    await finished;
    const { errors, signatureHeaders } = this.#signer;
    const [error] = errors;
    if (error !== undefined) throw new Error(`selector ${error.selector}: ${error.err.message}`);
    return Buffer.from(`${signatureHeaders.join("\r\n")}\r\n`, "latin1");
  }
}

/**
 * mailauth lists the signed headers from the last to the first; what is named after the topmost one, and is not there
 * once more, stands for "none".
 */
function oversign(signer: MailauthSigner, rules: SigningRules): void {
  const signed = new Set(signedNames(rules).map((name) => name.toLowerCase()));
  const readHeaders = signer.messageHeaders.bind(signer);
  signer.messageHeaders = async (headers) => {
    const topmost = headers.parsed.find(({ key }) => signed.has(key));
    if (topmost !== undefined && rules.oversignedHeaders.length > 0) {
      topmost.casedKey += `: ${rules.oversignedHeaders.join(": ")}`;
    }
    await readHeaders(headers);
  };
}

function signedNames({ signedHeaders, oversignedHeaders }: SigningRules): readonly string[] {
  return [...signedHeaders, ...oversignedHeaders];
}
