/**
 * The parts of which a message is to be made: addresses, subject, texts, further headers, attachments.
 *
 * Header names and values are checked before anything is made of them: nothing a caller gives can end a header and
 * begin another (security.md 3).
 *
 * Source: spec http-api.md §1 `content`.
 */
import { isMailAddress, parseAddressHeader } from "@postmq/mail-format";

import type { FieldErrors } from "./field-errors.ts";

export type Attachment = {
  readonly filename: string;
  readonly content: Buffer;
  readonly contentType?: string;
  /** Shown in the html part under this Content-ID. */
  readonly contentId?: string;
};

export type MessageContent = {
  /** As written: `Name <address>` or an address. */
  readonly from?: string;
  readonly to: readonly string[];
  readonly cc: readonly string[];
  readonly subject?: string;
  readonly text?: string;
  readonly html?: string;
  readonly headers: readonly { readonly key: string; readonly value: string }[];
  readonly attachments: readonly Attachment[];
};

const known = ["from", "to", "cc", "subject", "text", "html", "headers", "attachments"];
const longestHeader = 8_000;
/** Said by other fields, made by us, or a matter of the envelope. */
const ownHeaders = [
  "from",
  "to",
  "cc",
  "bcc",
  "subject",
  "date",
  "message-id",
  "mime-version",
  "received",
  "return-path",
  "content-type",
  "content-transfer-encoding",
  "content-disposition",
  "content-length",
];

export function parseMessageContent(
  value: unknown,
  errors: FieldErrors,
): MessageContent | undefined {
  const members = errors.members(value, "content", { known });
  if (members === undefined) return undefined;
  const optional = <T>(name: string, parse: (value: unknown, field: string) => T | undefined) =>
    members.has(name) ? parse(members.get(name), `content.${name}`) : undefined;
  const [from] = optional("from", (given, field) => parseMailboxes([given], field, errors)) ?? [];
  const subject = optional("subject", (given, field) => parseHeaderValue(given, field, errors));
  const text = optional("text", (given, field) => errors.text(given, field));
  const html = optional("html", (given, field) => errors.text(given, field));
  const attachments = optional("attachments", (given, field) =>
    parseAttachments(given, field, errors),
  );
  if (!members.has("text") && !members.has("html") && !members.has("attachments")) {
    errors.add("content", "must have text, html or attachments");
  }
  const mailboxes = (given: unknown, field: string) =>
    parseMailboxes(errors.list(given), field, errors);
  return {
    ...(from === undefined ? {} : { from }),
    to: optional("to", mailboxes) ?? [],
    cc: optional("cc", mailboxes) ?? [],
    ...(subject === undefined ? {} : { subject }),
    ...(text === undefined ? {} : { text }),
    ...(html === undefined ? {} : { html }),
    headers: optional("headers", (given, field) => parseHeaders(given, field, errors)) ?? [],
    attachments: attachments ?? [],
  };
}

/** Each `Name <address>` or an address. */
function parseMailboxes(
  values: readonly unknown[],
  field: string,
  errors: FieldErrors,
): readonly string[] {
  return values.flatMap((value) => {
    const text = parseHeaderValue(value, field, errors);
    if (text === undefined) return [];
    const addresses = parseAddressHeader(text);
    if (addresses.length === 1 && addresses.every(isMailAddress)) return [text];
    errors.add(field, `"${text.slice(0, 320)}" is not one address`);
    return [];
  });
}

function parseHeaderValue(value: unknown, field: string, errors: FieldErrors): string | undefined {
  const text = errors.line(value, field);
  return text === undefined || text.length <= longestHeader
    ? text
    : errors.add(field, `must be at most ${longestHeader} characters long`);
}

/** Name to value, or to a list of values for a header that occurs several times. */
function parseHeaders(
  value: unknown,
  field: string,
  errors: FieldErrors,
): readonly { readonly key: string; readonly value: string }[] | undefined {
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    return errors.add(field, "must be an object");
  }
  return Object.entries(value).flatMap(([key, given]: [string, unknown]) => {
    if (!/^[A-Za-z0-9][A-Za-z0-9-]{0,75}$/.test(key)) {
      errors.add(field, `"${key.slice(0, 100)}" is not a header name`);
      return [];
    }
    if (ownHeaders.includes(key.toLowerCase())) {
      errors.add(`${field}.${key}`, "can't be set here");
      return [];
    }
    return errors.list(given).flatMap((entry) => {
      const text = parseHeaderValue(entry, `${field}.${key}`, errors);
      return text === undefined ? [] : [{ key, value: text }];
    });
  });
}

function parseAttachments(
  value: unknown,
  field: string,
  errors: FieldErrors,
): readonly Attachment[] | undefined {
  if (!Array.isArray(value)) return errors.add(field, "must be a list");
  return value.flatMap((entry: unknown, index) => {
    const attachment = parseAttachment(entry, `${field}[${index}]`, errors);
    return attachment === undefined ? [] : [attachment];
  });
}

function parseAttachment(
  value: unknown,
  field: string,
  errors: FieldErrors,
): Attachment | undefined {
  const members = errors.members(value, field, {
    known: ["filename", "content", "content_type", "content_id"],
  });
  if (members === undefined) return undefined;
  const filename = parseHeaderValue(members.get("filename"), `${field}.filename`, errors);
  const content = errors.base64(members.get("content"), `${field}.content`);
  const contentType = parseToken(members, "content_type", {
    pattern: /^[\w!#$&^.+-]+\/[\w!#$&^.+-]+$/,
    saying: "must be type/subtype",
    field,
    errors,
  });
  const contentId = parseToken(members, "content_id", {
    pattern: /^[\w.+-]+(@[\w.-]+)?$/,
    saying: "must be a Content-ID without angle brackets",
    field,
    errors,
  });
  if (filename === undefined || content === undefined) return undefined;
  return {
    filename,
    content,
    ...(contentType === undefined ? {} : { contentType }),
    ...(contentId === undefined ? {} : { contentId }),
  };
}

function parseToken(
  members: ReadonlyMap<string, unknown>,
  name: string,
  rule: {
    readonly pattern: RegExp;
    readonly saying: string;
    readonly field: string;
    readonly errors: FieldErrors;
  },
): string | undefined {
  if (!members.has(name)) return undefined;
  const field = `${rule.field}.${name}`;
  const text = rule.errors.line(members.get(name), field);
  if (text === undefined) return undefined;
  const isFit = text.length <= 255 && rule.pattern.test(text);
  return isFit ? text : rule.errors.add(field, rule.saying);
}
