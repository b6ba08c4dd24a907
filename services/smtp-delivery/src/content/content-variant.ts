/**
 * A message's content with one set of changes, as it goes over the wire but for dot-stuffing.
 *
 * It can be read as often as wanted, each time anew from the stored content, and is the same each time as long as
 * tables stay as they are.
 *
 * Source: spec D17, D19, D21.
 */
import { createHash } from "node:crypto";

import type { MimeLimits } from "@postmq/mail-format";
import type { CheckNotice } from "@postmq/rewriting";
import type { Envelope } from "@postmq/vocabulary";

import { BodyStuffer } from "../session/message-body.ts";
import { ContentRewriter } from "./content-rewriter.ts";
import type { ContentChanges } from "./content-rewriter.ts";
import { inPieces } from "./in-pieces.ts";

/** A message that is about to be sent. */
export type StoredContent = {
  readonly contentId: string;
  readonly encoding: Envelope["encoding"];
  /** All of it, when it is small. */
  readonly whole: Buffer | undefined;
  /** Else a reader of it; may be asked more than once. */
  readonly read: () => AsyncIterable<Buffer>;
};

export type VariantRules = {
  readonly limits: MimeLimits;
  readonly lineLimit: number;
};

/** What is handed on at once, about. */
const readBytes = 16_384;

/** What takes content piece by piece and gives it changed. */
type Stage = { write(chunk: Buffer): Buffer; end(): Buffer };

export class ContentVariant {
  readonly #content: StoredContent;
  readonly #changes: ContentChanges;
  readonly #rules: VariantRules;

  constructor(content: StoredContent, changes: ContentChanges, rules: VariantRules) {
    this.#content = content;
    this.#changes = changes;
    this.#rules = rules;
  }

  /** It differs from the stored content in more than broken lines. */
  get isChanged(): boolean {
    return Object.keys(this.#changes).length > 0;
  }

  get isConverted(): boolean {
    return this.#changes.plan !== undefined;
  }

  get isWhole(): boolean {
    return this.#content.whole !== undefined;
  }

  /** Small content; empty if it is not. */
  async whole(notice: CheckNotice): Promise<Buffer> {
    const { whole } = this.#content;
    return Buffer.concat(whole === undefined ? [] : await Array.fromAsync(this.read(notice)));
  }

  async *read(notice: CheckNotice): AsyncGenerator<Buffer> {
    const { whole, read } = this.#content;
    const stages = this.#stages(notice);
    let ready: Buffer[] = [];
    let length = 0;
    for await (const piece of inPieces(whole === undefined ? read() : [whole])) {
      const bytes = through(stages, piece);
      ready.push(bytes);
      length += bytes.length;
      if (length < readBytes) continue;
      yield Buffer.concat(ready);
      ready = [];
      length = 0;
    }
    yield Buffer.concat([...ready, ended(stages)]);
  }

  /** The same for the same bytes; of content that is not whole, for the same content in the same variant. */
  fingerprint(whole: Buffer | undefined): string {
    if (whole !== undefined) return createHash("sha256").update(whole).digest("base64");
    return `${this.#content.contentId} ${this.isConverted ? "7bit" : "as it is"}`;
  }

  #stages(notice: CheckNotice): readonly Stage[] {
    const { limits, lineLimit } = this.#rules;
    const breaker = new BodyStuffer(lineLimit, { stuffsDots: false });
    if (!this.isChanged) return [breaker];
    return [new ContentRewriter(this.#changes, limits, notice), breaker];
  }
}

function through(stages: readonly Stage[], chunk: Buffer): Buffer {
  return stages.reduce((bytes, stage) => stage.write(bytes), chunk);
}

/** What each stage gives at its end passes through those behind it. */
function ended(stages: readonly Stage[]): Buffer {
  return Buffer.concat(stages.map((stage, at) => through(stages.slice(at + 1), stage.end())));
}
