/**
 * smtp_generic_maps in headers: addresses in the headers of the message itself, not of its parts.
 *
 * Source: spec D21; generic(5); Postfix src/smtp/smtp_proto.c smtp_header_rewrite.
 */
import type { MimeEntity, MimeSink } from "@postmq/mail-format";
import { addressHeaders, rewriteHeaderAddresses } from "@postmq/rewriting";

import { lineText } from "./line-text.ts";
import { PassThrough } from "./pass-through.ts";

export class GenericStep extends PassThrough {
  readonly #rewrite: (address: string) => string;

  constructor(rewrite: (address: string) => string, next: MimeSink) {
    super(next);
    this.#rewrite = rewrite;
  }

  override header(raw: Buffer, name: string, entity: MimeEntity): void {
    const isConcerned = entity.headerClass === "primary" && addressHeaders.has(name);
    this.next.header(isConcerned ? this.#rewritten(raw) : raw, name, entity);
  }

  #rewritten(raw: Buffer): Buffer {
    const { text, bytesOf } = lineText(raw);
    const valueStart = text.indexOf(":") + 1;
    const value = text.slice(valueStart);
    const rewritten = rewriteHeaderAddresses(value, this.#rewrite);
    return rewritten === value ? raw : bytesOf(text.slice(0, valueStart) + rewritten);
  }
}
