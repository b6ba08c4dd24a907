/** A step between a MimeWalker and what comes after it, that hands everything on; steps override what they change. */
import type { MimeEntity, MimeSink, TextPlace } from "@postmq/mail-format";

export class PassThrough implements MimeSink {
  protected readonly next: MimeSink;

  constructor(next: MimeSink) {
    this.next = next;
  }

  header(raw: Buffer, name: string, entity: MimeEntity): void {
    this.next.header(raw, name, entity);
  }

  headEnd(separator: Buffer, entity: MimeEntity): void {
    this.next.headEnd(separator, entity);
  }

  text(piece: Buffer, where: TextPlace, entity: MimeEntity): void {
    this.next.text(piece, where, entity);
  }

  boundary(line: Buffer, multipart: MimeEntity): void {
    this.next.boundary(line, multipart);
  }

  asIs(bytes: Buffer): void {
    this.next.asIs(bytes);
  }
}
