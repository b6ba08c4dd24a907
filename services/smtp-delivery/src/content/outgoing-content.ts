/**
 * What is sent in place of the stored content, where the server or the parameters ask for it.
 *
 * Decided in this order of cost: by parameters, once per process; by what the server offers; by the bytes. The normal
 * case (8BITMIME is offered or the mail is 7-bit, no DKIM, no generic maps, no checks) is decided without a look at the
 * content and gives undefined at once.
 *
 * Content is changed while it streams and never held as a whole. What must be known before the first byte leaves is found
 * in passes of its own: which parts have 8-bit bytes, and the signature, which covers the bytes as they go over the wire:
 * after quoted-printable, checks, generic maps and broken lines, before dot-stuffing.
 *
 * Mail is signed for the domain of its From header (the first address in it), or for a parent of it that has keys; reports
 * with the null sender too. Without From, or without keys, it goes unsigned. A key that can't be used defers the mail.
 *
 * Source: spec D15, D17, D21; RFC 6152, RFC 6376; Postfix src/smtp/smtp_proto.c (SMTP_MIME_DOWNGRADE).
 */
import { LineEndNormaliser, MimeWalker } from "@postmq/mail-format";
import type { MimeLimits } from "@postmq/mail-format";
import type { CheckNotice } from "@postmq/rewriting";
import { enhancedStatus, isPostmqError } from "@postmq/vocabulary";
import type { EnhancedStatus } from "@postmq/vocabulary";

import type { ContentChanges } from "./content-rewriter.ts";
import { ContentVariant } from "./content-variant.ts";
import type { StoredContent } from "./content-variant.ts";
import { EightBitPlan, hasEightBit } from "./eight-bit-plan.ts";
import { inPieces } from "./in-pieces.ts";
import { hasUtf8Headers, mapsHeadersToUtf8 } from "./needs-smtputf8.ts";
import { ContentSigner } from "./sign-content.ts";
import type { SigningSettings } from "./sign-content.ts";

export type OutgoingRules = {
  /** disable_mime_output_conversion is no. */
  readonly converts: boolean;
  readonly limits: Omit<MimeLimits, "opensGlobal">;
  readonly lineLimit: number;
  /** What all content meets: absent where the tables are not set. */
  readonly changes: Omit<ContentChanges, "plan">;
  readonly signing?: SigningSettings;
};

export type OutgoingMail =
  | {
      readonly kind: "changed";
      /** 8-bit became 7-bit: no SIZE is told (D15). */
      readonly isConverted: boolean;
      /** Generic maps put UTF-8 into its headers (D18). */
      readonly needsSmtputf8: boolean;
      /** All of it, when it is small. */
      readonly whole?: Buffer;
      readonly read: () => AsyncIterable<Buffer>;
    }
  /** It can't be sent; nobody gets it. */
  | {
      readonly kind: "refused";
      readonly isPermanent: boolean;
      readonly status: EnhancedStatus;
      readonly reason: string;
    };

type SignedMail = Omit<Extract<OutgoingMail, { readonly kind: "changed" }>, "needsSmtputf8">;

/** What a server offers, as far as it matters here: keywords in upper case. */
export type OfferedKeywords = { has(keyword: string): boolean };

/** As far as its label and, where it is small, its bytes are known. */
type LabelledContent = Pick<StoredContent, "encoding" | "whole">;

export class OutgoingContent {
  readonly #rules: OutgoingRules;
  readonly #signer: ContentSigner | undefined;
  readonly #changesAll: boolean;

  constructor(rules: OutgoingRules) {
    this.#rules = rules;
    this.#signer = rules.signing === undefined ? undefined : new ContentSigner(rules.signing);
    this.#changesAll = this.#signer !== undefined || Object.keys(rules.changes).length > 0;
  }

  /** D21: an envelope address as the server is to see it; absent without generic maps. */
  get genericAddress(): ((address: string) => string) | undefined {
    return this.#rules.changes.generic;
  }

  /** D18: whether there is UTF-8 in a header as it is sent, wherever it stands. */
  hasUtf8Headers({ whole, read }: Pick<StoredContent, "whole" | "read">): Promise<boolean> {
    const limits = { ...this.#rules.limits, opensGlobal: true };
    return hasUtf8Headers(whole === undefined ? read() : [whole], limits, this.genericAddress);
  }

  /** false: `prepare` would have nothing to change. */
  mayChange(content: LabelledContent, offers: OfferedKeywords): boolean {
    return this.#changesAll || this.#mayConvert(content, offers);
  }

  /**
   * What to send in place of the stored content; undefined: the content as it is.
   *
   * @param notice told what checks have to say, when the content is sent
   * @throws (rejects with) what reading the content throws
   */
  prepare(
    content: StoredContent,
    offers: OfferedKeywords,
    notice: CheckNotice,
  ): Promise<OutgoingMail | undefined> | undefined {
    const mayConvert = this.#mayConvert(content, offers);
    return mayConvert || this.#changesAll ? this.#prepare(content, mayConvert, notice) : undefined;
  }

  /** Like Postfix, we believe that a server which takes SMTPUTF8 takes 8 bits, and that 7-bit mail is 7-bit. */
  #mayConvert({ encoding, whole }: LabelledContent, offers: OfferedKeywords): boolean {
    if (offers.has("8BITMIME") || encoding === "7bit" || !this.#rules.converts) return false;
    return !offers.has("SMTPUTF8") && (whole === undefined || hasEightBit(whole));
  }

  async #prepare(
    content: StoredContent,
    mayConvert: boolean,
    notice: CheckNotice,
  ): Promise<OutgoingMail | undefined> {
    const plan = mayConvert ? await this.#plan(content) : undefined;
    if (plan === "tooDeep") {
      const reason = "MIME nesting exceeds safety limit";
      return { kind: "refused", isPermanent: true, status: enhancedStatus("5.6.0"), reason };
    }
    const { changes, limits, lineLimit } = this.#rules;
    const rules = { limits: { ...limits, opensGlobal: plan === undefined }, lineLimit };
    const all = plan === undefined ? changes : { ...changes, plan };
    const variant = new ContentVariant(content, all, rules);
    try {
      const mail = await this.#signed(variant, notice);
      return mail && { ...mail, needsSmtputf8: await this.#mapsToUtf8(content) };
    } catch (error) {
      if (!isPostmqError(error, "PMQ_TABLE_UNREADABLE")) throw error;
      notice("warning", error.message);
      const reason = "mail can't be signed: server configuration error";
      return { kind: "refused", isPermanent: false, status: enhancedStatus("4.3.5"), reason };
    }
  }

  async #mapsToUtf8({ whole, read }: StoredContent): Promise<boolean> {
    const { genericAddress } = this;
    if (genericAddress === undefined) return false;
    const limits = { ...this.#rules.limits, opensGlobal: false };
    return await mapsHeadersToUtf8(whole === undefined ? read() : [whole], limits, genericAddress);
  }

  async #signed(variant: ContentVariant, notice: CheckNotice): Promise<SignedMail | undefined> {
    const whole = variant.isWhole ? await variant.whole(notice) : undefined;
    const signature = await this.#signer?.signatureOf(variant, whole);
    if (signature === undefined && !variant.isChanged) return undefined;
    const { isConverted } = variant;
    if (whole !== undefined) {
      const content = signature === undefined ? whole : Buffer.concat([signature, whole]);
      return {
        kind: "changed",
        isConverted,
        whole: content,
        read: async function* () {
          yield content;
        },
      };
    }
    return {
      kind: "changed",
      isConverted,
      read: async function* () {
        if (signature !== undefined) yield signature;
        yield* variant.read(notice);
      },
    };
  }

  /** @returns undefined: it is 7-bit all through, and correctly labelled. */
  async #plan({ whole, read }: StoredContent): Promise<EightBitPlan | "tooDeep" | undefined> {
    if (whole === undefined && !(await hasEightBitIn(read()))) return undefined;
    const plan = new EightBitPlan();
    const lineEnds = new LineEndNormaliser();
    const walker = new MimeWalker(plan, { ...this.#rules.limits, opensGlobal: false });
    for await (const piece of inPieces(whole === undefined ? read() : [whole])) {
      walker.write(lineEnds.write(piece));
    }
    walker.write(lineEnds.end());
    walker.end();
    if (walker.isTooDeep) return "tooDeep";
    return plan.isEmpty ? undefined : plan;
  }
}

/** Content that nobody has labelled is mostly 7-bit: bytes alone are looked at much faster than lines. */
async function hasEightBitIn(chunks: AsyncIterable<Buffer>): Promise<boolean> {
  for await (const chunk of chunks) if (hasEightBit(chunk)) return true;
  return false;
}
