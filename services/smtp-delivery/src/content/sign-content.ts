/**
 * Signs content for the domain of its From header.
 *
 * The signature covers what is about to be sent, so the content is read once for it and once more to be sent. It is kept
 * by the bytes it covers (of content that streams: by its id and variant), so that further servers and requests of one
 * message find it made.
 *
 * Source: RFC 6376 §3.5, §5.1; DESIGN §2.
 */
import { domainToASCII } from "node:url";

import { addressDomain, parseAddressHeader, scanHeaders } from "@postmq/mail-format";
import { HeadCollector } from "@postmq/rewriting";

import type { ContentVariant } from "./content-variant.ts";
import type { DkimKeys, SigningIdentity } from "./dkim-keys.ts";
import { DkimSignature } from "./dkim-signature.ts";
import type { SigningRules } from "./dkim-signature.ts";

export type SigningSettings = {
  readonly keys: DkimKeys;
  readonly rules: SigningRules;
  /** Grows when a table that changes content has changed. */
  readonly generation: () => number;
};

const keptSignatures = 256;
/** Checks have said all they have to say when the content is sent. */
const silent = () => {};

export class ContentSigner {
  readonly #settings: SigningSettings;
  /** The one used last is the last. */
  readonly #made = new Map<string, Promise<Buffer | undefined>>();

  constructor(settings: SigningSettings) {
    this.#settings = settings;
  }

  /**
   * The signatures to go before the content; undefined: nobody signs it.
   *
   * @param whole the content as it is sent, when it is small
   * @throws PMQ_TABLE_UNREADABLE when a key can't be used
   */
  signatureOf(variant: ContentVariant, whole: Buffer | undefined): Promise<Buffer | undefined> {
    const { keys, generation } = this.#settings;
    if (whole !== undefined && this.#identityIn(whole) === undefined) {
      return Promise.resolve(undefined);
    }
    const name = `${keys.generation()} ${generation()} ${variant.fingerprint(whole)}`;
    const known = this.#made.get(name);
    const made = known ?? this.#sign(whole === undefined ? variant.read(silent) : [whole]);
    this.#made.delete(name);
    this.#made.set(name, made);
    if (known === undefined) {
      // Whoever asked hears of it; the next one tries again.
      made.catch(() => this.#made.delete(name));
      this.#forgetOldest();
    }
    return made;
  }

  #forgetOldest(): void {
    const [oldest] = this.#made.keys();
    if (this.#made.size > keptSignatures && oldest !== undefined) this.#made.delete(oldest);
  }

  /** Content whose headers don't end within reach is not signed: nobody could say what is a header of it. */
  async #sign(content: AsyncIterable<Buffer> | Iterable<Buffer>): Promise<Buffer | undefined> {
    const head = new HeadCollector();
    let signature: DkimSignature | undefined;
    for await (const piece of content) {
      if (signature !== undefined) {
        await signature.write(piece);
        continue;
      }
      const front = head.write(piece);
      if (front === undefined) continue;
      const identity = Buffer.isBuffer(front) ? this.#identityIn(front) : undefined;
      if (identity === undefined || !Buffer.isBuffer(front)) return undefined;
      signature = new DkimSignature(identity, this.#settings.rules);
      await signature.write(front);
    }
    return (await (signature ?? (await this.#signHeadersAlone(head.end())))?.end()) ?? undefined;
  }

  async #signHeadersAlone(content: Buffer): Promise<DkimSignature | undefined> {
    const identity = this.#identityIn(content);
    if (identity === undefined) return undefined;
    const signature = new DkimSignature(identity, this.#settings.rules);
    await signature.write(content);
    return signature;
  }

  #identityIn(content: Buffer): SigningIdentity | undefined {
    const from = scanHeaders(content).headers.find(({ name }) => name === "from");
    if (from === undefined) return undefined;
    const [author = ""] = parseAddressHeader(from.value());
    const domain = addressDomain(author);
    if (domain === undefined) return undefined;
    return this.#settings.keys.identityFor(domainToASCII(domain) || domain);
  }
}
