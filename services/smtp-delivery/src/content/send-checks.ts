/**
 * smtp_header_checks, smtp_mime_header_checks, smtp_nested_header_checks and smtp_body_checks: content as it is about to be
 * sent, line by line, held against tables.
 *
 * MIME headers (Content-… and MIME-Version) are checked as such wherever they stand, and there is no table that stands in
 * for another: each class has its own or none. A header is matched with its continuation lines, a line of a body as it
 * goes out (after quoted-printable). What is put before a header is neither checked nor rewritten.
 *
 * Source: spec D21, rewriting-and-checks.md §4; header_checks(5); Postfix src/global/header_body_checks.c.
 */
import type { HeaderClass, MimeEntity, MimeSink, TextPlace } from "@postmq/mail-format";
import { applyCheck } from "@postmq/rewriting";
import type { CheckNotice } from "@postmq/rewriting";
import type { Tables } from "@postmq/tables";

import { lineText } from "./line-text.ts";
import { PassThrough } from "./pass-through.ts";

export type SendChecks = {
  readonly headers: Readonly<Record<HeaderClass, Tables>>;
  readonly body: Tables;
};

const mapNames: Readonly<Record<HeaderClass, string>> = {
  primary: "smtp_header_checks",
  mime: "smtp_mime_header_checks",
  nested: "smtp_nested_header_checks",
};

export class CheckStep extends PassThrough {
  readonly #checks: SendChecks;
  readonly #notice: CheckNotice;

  constructor(checks: SendChecks, notice: CheckNotice, next: MimeSink) {
    super(next);
    this.#checks = checks;
    this.#notice = notice;
  }

  override header(raw: Buffer, name: string, entity: MimeEntity): void {
    const isMime = name === "mime-version" || name.startsWith("content-");
    const headerClass = isMime ? "mime" : entity.headerClass;
    const tables = this.#checks.headers[headerClass];
    const written = lineText(raw);
    const text = tables.isEmpty ? "" : asOneText(written.text);
    const check = tables.isEmpty ? undefined : tables.lookup(text);
    if (check === undefined) {
      this.next.header(raw, name, entity);
      return;
    }
    const where = { kind: "header", mapName: mapNames[headerClass] } as const;
    const { prepended, line } = applyCheck(check, text, where, this.#notice);
    if (prepended !== undefined) this.next.asIs(written.bytesOf(asHeader(prepended)));
    if (line === text) this.next.header(raw, name, entity);
    else if (line !== undefined) {
      this.next.header(written.bytesOf(asHeader(line)), nameOf(line), entity);
    }
  }

  override text(piece: Buffer, place: TextPlace, entity: MimeEntity): void {
    const checked = this.#checkBody(piece);
    const { endsLine } = place;
    if (checked.prepended !== undefined) {
      this.next.text(checked.prepended, { ...place, endsLine: true }, entity);
    }
    if (checked.line !== undefined) this.next.text(checked.line, { ...place, endsLine }, entity);
  }

  override boundary(line: Buffer, multipart: MimeEntity): void {
    const end = line.at(-1) === lineFeed ? line.length - 2 : line.length;
    const { prepended, line: kept } = this.#checkBody(line.subarray(0, end));
    const lineEnd = line.subarray(end);
    if (prepended !== undefined) this.next.asIs(Buffer.concat([prepended, crlf]));
    if (kept !== undefined) this.next.boundary(Buffer.concat([kept, lineEnd]), multipart);
  }

  #checkBody(piece: Buffer): { readonly prepended?: Buffer; readonly line?: Buffer } {
    const { body } = this.#checks;
    if (body.isEmpty || piece.length === 0) return { line: piece };
    const written = lineText(piece);
    const check = body.lookup(written.text);
    if (check === undefined) return { line: piece };
    const where = { kind: "body", mapName: "smtp_body_checks" } as const;
    const { prepended, line } = applyCheck(check, written.text, where, this.#notice);
    return {
      ...(prepended === undefined ? {} : { prepended: written.bytesOf(prepended) }),
      ...(line === undefined
        ? {}
        : { line: line === written.text ? piece : written.bytesOf(line) }),
    };
  }
}

const lineFeed = 0x0a;
const crlf = Buffer.from("\r\n");

/** Without the last line end; the others as patterns know them. `Name :` becomes `Name:`. */
function asOneText(raw: string): string {
  return raw
    .replace(/\r\n$/, "")
    .replaceAll("\r\n", "\n")
    .replace(/^([!-9;-~]+)[ \t]+:/, "$1:");
}

/** A line break that a pattern brought along starts no header of its own. */
function asHeader(text: string): string {
  return `${text.replaceAll(/\r?\n(?![ \t])/g, "\n\t").replaceAll(/\r?\n/g, "\r\n")}\r\n`;
}

function nameOf(line: string): string {
  return /^[!-9;-~]+/.exec(line)?.[0].toLowerCase() ?? "";
}
