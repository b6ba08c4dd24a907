/**
 * Makes a MIME message of its parts, by nodemailer's composer.
 *
 * Nothing in the parts can make it read a file or a URL: contents are given as strings and Buffers, and access to
 * anything else is switched off besides.
 *
 * Source: spec http-api.md §1; RFC 5322, RFC 2045 to 2047.
 */
import MailComposer from "nodemailer/lib/mail-composer";

import type { MessageContent } from "./message-content.ts";

export async function composeMessage(
  content: MessageContent,
  made: {
    /** For From if the content has none. */
    readonly sender: string;
    readonly messageId: string;
    readonly dateMs: number;
  },
): Promise<Buffer> {
  const from = content.from ?? made.sender;
  const composer = new MailComposer({
    ...(from === "" ? {} : { from }),
    to: [...content.to],
    cc: [...content.cc],
    subject: content.subject,
    text: content.text,
    html: content.html,
    headers: content.headers.map(({ key, value }) => ({ key, value })),
    attachments: content.attachments.map(
      ({ filename, content: bytes, contentType, contentId }) => ({
        filename,
        content: bytes,
        contentType,
        cid: contentId,
      }),
    ),
    messageId: made.messageId,
    date: new Date(made.dateMs),
    newline: "win",
    disableFileAccess: true,
    disableUrlAccess: true,
  });
  return await composer.compile().build();
}
