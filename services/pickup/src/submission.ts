/**
 * A submission as a caller of the HTTP API writes it: who sends, who receives, and the message itself.
 *
 * Source: spec http-api.md §1; RFC 3461 for dsn.
 */
import { isMailAddress, parseSmtpPath } from "@postmq/mail-format";
import { areVerpDelimiters, notifyConditions } from "@postmq/vocabulary";
import type { Envelope, NotifyCondition, Recipient, VerpRules } from "@postmq/vocabulary";

import type { FieldErrors } from "./field-errors.ts";
import { parseMessageContent } from "./message-content.ts";
import type { MessageContent } from "./message-content.ts";

export type SubmissionEnvelope = Pick<
  Envelope,
  "sender" | "envid" | "ret" | "smtputf8" | "verpDelimiters"
> & {
  readonly recipients: readonly Recipient[];
};

export type JsonSubmission = {
  readonly envelope: SubmissionEnvelope;
  /** A whole message, or what one is to be made of. */
  readonly message:
    | { readonly kind: "raw"; readonly raw: Buffer }
    | { readonly kind: "content"; readonly content: MessageContent };
};

const known = ["mail_from", "rcpt_to", "raw", "content", "dsn", "verp"];
/** In the contract, but not yet built. */
const later = [
  "tenant",
  "campaign",
  "tags",
  "metadata",
  "deliver_at",
  "expires_at",
  "priority",
  "hold",
  "require_tls",
];
const longestEnvid = 100;

/** What the parameters say of submissions. */
export type SubmissionRules = {
  /** submission_recipient_limit. */
  readonly maxRecipients: number;
  readonly verp: VerpRules;
};

/** @returns undefined when something is wrong: `errors` then tell what */
export function parseJsonSubmission(
  body: unknown,
  options: SubmissionRules & { readonly errors: FieldErrors },
): JsonSubmission | undefined {
  const { errors } = options;
  const members = errors.members(body, "", { known, later });
  if (members === undefined) return undefined;
  const envelope = parseEnvelope(members, options);
  const message = parseMessage(members, errors);
  return envelope === undefined || message === undefined || errors.all.length > 0
    ? undefined
    : { envelope, message };
}

/** The envelope in the query of a raw submission: mail_from and repeated rcpt_to. */
export function parseQueryEnvelope(
  query: unknown,
  options: SubmissionRules & { readonly errors: FieldErrors },
): SubmissionEnvelope | undefined {
  const names = { known: ["mail_from", "rcpt_to", "verp"], later };
  const members = options.errors.members(query, "", names);
  const envelope = members === undefined ? undefined : parseEnvelope(members, options);
  return options.errors.all.length > 0 ? undefined : envelope;
}

function parseEnvelope(
  members: ReadonlyMap<string, unknown>,
  options: SubmissionRules & { readonly errors: FieldErrors },
): SubmissionEnvelope | undefined {
  const { errors } = options;
  const sender = parseSender(members.get("mail_from"), errors);
  const dsn = parseDsn(members.get("dsn"), errors);
  const addresses = parseRecipients(members.get("rcpt_to"), options);
  if (sender === undefined || addresses === undefined || dsn === undefined) return undefined;
  const verpDelimiters = parseVerp(members.get("verp"), sender, options);
  const { notify, ...rest } = dsn;
  const isInternational = [sender, ...addresses].some((address) => /\P{ASCII}/u.test(address));
  return {
    sender,
    ...rest,
    ...(verpDelimiters === undefined ? {} : { verpDelimiters }),
    ...(isInternational ? { smtputf8: true } : {}),
    recipients: addresses.map((address) =>
      notify === undefined ? { address } : { address, notify },
    ),
  };
}

/** The empty string and `<>` are the null sender. */
function parseSender(value: unknown, errors: FieldErrors): string | undefined {
  if (value === undefined) return errors.add("mail_from", "is missing");
  const text = errors.line(value, "mail_from");
  return text === ""
    ? ""
    : text === undefined
      ? undefined
      : parseAddress(text, "mail_from", errors);
}

function parseRecipients(
  value: unknown,
  { maxRecipients, errors }: { readonly maxRecipients: number; readonly errors: FieldErrors },
): readonly string[] | undefined {
  const list = value === undefined ? [] : errors.list(value);
  if (list.length === 0) return errors.add("rcpt_to", "must name at least one recipient");
  if (list.length > maxRecipients) {
    const text = `names ${list.length} recipients; submission_recipient_limit is ${maxRecipients}`;
    return errors.add("rcpt_to", text);
  }
  return list.flatMap((entry, index) => {
    const field = `rcpt_to[${index}]`;
    const text = errors.line(entry, field);
    const address = text === undefined ? undefined : parseAddress(text, field, errors);
    if (address === "") errors.add(field, "is not an address");
    return address === undefined || address === "" ? [] : [address];
  });
}

function parseAddress(text: string, field: string, errors: FieldErrors): string | undefined {
  const address = parseSmtpPath(text);
  const isFit = address === "" || (address !== undefined && isMailAddress(address));
  return isFit ? address : errors.add(field, `"${text.slice(0, 320)}" is not an address`);
}

/** true, or the delimiters: each recipient is to get a copy from a sender that names it. Source: VERP_README. */
function parseVerp(
  value: unknown,
  sender: string,
  { verp, errors }: SubmissionRules & { readonly errors: FieldErrors },
): string | undefined {
  if (value === undefined || value === false || value === "false") return undefined;
  if (sender === "") return errors.add("verp", "needs a sender");
  if (value === true || value === "true") return verp.delimiters;
  if (typeof value === "string" && areVerpDelimiters(value, verp.allowed)) return value;
  return errors.add("verp", `must be true or two characters of ${verp.allowed}`);
}

type Dsn = {
  readonly notify?: readonly NotifyCondition[];
  readonly ret?: "FULL" | "HDRS";
  readonly envid?: string;
};

function parseDsn(value: unknown, errors: FieldErrors): Dsn | undefined {
  if (value === undefined) return {};
  const members = errors.members(value, "dsn", { known: ["notify", "ret", "envid"] });
  if (members === undefined) return undefined;
  const notify = members.has("notify") ? parseNotify(members.get("notify"), errors) : undefined;
  const ret = members.has("ret") ? parseRet(members.get("ret"), errors) : undefined;
  const envid = members.has("envid") ? parseEnvid(members.get("envid"), errors) : undefined;
  return {
    ...(notify === undefined ? {} : { notify }),
    ...(ret === undefined ? {} : { ret }),
    ...(envid === undefined ? {} : { envid }),
  };
}

function parseNotify(value: unknown, errors: FieldErrors): readonly NotifyCondition[] | undefined {
  const field = "dsn.notify";
  const words = errors.list(value);
  const conditions = notifyConditions.filter((condition) =>
    words.some((word) => typeof word === "string" && word.toUpperCase() === condition),
  );
  const isWhole = words.length > 0 && conditions.length === words.length;
  if (!isWhole) return errors.add(field, `must be a list of ${notifyConditions.join(", ")}`);
  if (conditions.includes("NEVER") && conditions.length > 1) {
    return errors.add(field, "must not have NEVER among others");
  }
  return conditions;
}

function parseRet(value: unknown, errors: FieldErrors): "FULL" | "HDRS" | undefined {
  return value === "FULL" || value === "HDRS"
    ? value
    : errors.add("dsn.ret", "must be FULL or HDRS");
}

function parseEnvid(value: unknown, errors: FieldErrors): string | undefined {
  const text = errors.line(value, "dsn.envid");
  if (text === undefined) return undefined;
  const isFit = text.length <= longestEnvid && /^[\x20-\x7E]+$/.test(text);
  return isFit ? text : errors.add("dsn.envid", "must be 1 to 100 printable ASCII characters");
}

function parseMessage(
  members: ReadonlyMap<string, unknown>,
  errors: FieldErrors,
): JsonSubmission["message"] | undefined {
  if (members.has("raw") === members.has("content")) {
    return errors.add("raw", "or content: exactly one of the two must be given");
  }
  if (members.has("raw")) {
    const raw = errors.base64(members.get("raw"), "raw");
    if (raw?.length === 0) return errors.add("raw", "is empty: there is no message");
    return raw === undefined ? undefined : { kind: "raw", raw };
  }
  const content = parseMessageContent(members.get("content"), errors);
  return content === undefined ? undefined : { kind: "content", content };
}
