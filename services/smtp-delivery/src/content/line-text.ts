/**
 * Lines of mail as text and back, without loss: UTF-8 where the bytes are that, else Latin-1.
 *
 * Source: spec rewriting-and-checks.md §4 (lines are matched as they are, nothing is decoded).
 */
import { isUtf8 } from "node:buffer";

export type LineText = {
  readonly text: string;
  /** Bytes of a text that was made out of this one. */
  readonly bytesOf: (text: string) => Buffer;
};

export function lineText(bytes: Buffer): LineText {
  const encoding = isUtf8(bytes) ? "utf8" : "latin1";
  return {
    text: bytes.toString(encoding),
    // What a table adds may not fit into Latin-1.
    bytesOf: (text) => Buffer.from(text, /[^\u0000-\u00FF]/.test(text) ? "utf8" : encoding),
  };
}
