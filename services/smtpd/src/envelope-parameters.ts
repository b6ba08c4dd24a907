/**
 * The parameters of MAIL and RCPT: which are known, what values they take, and the reply when one is wrong.
 *
 * Source: RFC 1870 (SIZE), RFC 6152 (BODY), RFC 3461 §4 (RET, ENVID, NOTIFY, ORCPT); VERP_README (XVERP); spec V1, V10,
 * V11.
 */
import { decodeXtext } from "@postmq/mail-format";
import type { Envelope, NotifyCondition, Recipient, VerpRules } from "@postmq/vocabulary";
import { areVerpDelimiters, notifyConditions } from "@postmq/vocabulary";

import type { EsmtpParameter } from "./command-line.ts";
import type { Reply } from "./reply.ts";
import { printable } from "./reply.ts";

/** RFC 3461 §4.4. */
const longestEnvid = 100;
/** RFC 3461 §4.2. */
const longestOrcpt = 500;

export type MailParameters = Pick<Envelope, "encoding" | "ret" | "envid" | "verpDelimiters"> & {
  /** What the client says the message will have, in bytes. */
  readonly size?: number;
};

export type RcptParameters = Pick<Recipient, "notify" | "orcpt">;

/**
 * @param verp undefined: this client may not ask for it, and XVERP is as unknown as any other word
 * @returns the parameters, or the reply that refuses the command.
 */
export function parseMailParameters(
  parameters: readonly EsmtpParameter[],
  verp: VerpRules | undefined,
): MailParameters | Reply {
  const repeated = findRepeated(parameters);
  if (repeated !== undefined) return badParameter(repeated);
  let parsed: MailParameters = {};
  for (const { keyword, value } of parameters) {
    const one =
      keyword === "XVERP" && verp !== undefined
        ? verpParameter(value, verp)
        : mailParameter(keyword, value ?? "");
    if (typeof one === "string") return one;
    parsed = { ...parsed, ...one };
  }
  return parsed;
}

/** @returns the parameters, or the reply that refuses the command. */
export function parseRcptParameters(parameters: readonly EsmtpParameter[]): RcptParameters | Reply {
  const repeated = findRepeated(parameters);
  if (repeated !== undefined) return badParameter(repeated);
  let parsed: RcptParameters = {};
  for (const { keyword, value } of parameters) {
    const one = rcptParameter(keyword, value ?? "");
    if (typeof one === "string") return one;
    parsed = { ...parsed, ...one };
  }
  return parsed;
}

function mailParameter(keyword: string, value: string): MailParameters | Reply {
  switch (keyword) {
    case "SIZE":
      return /^\d{1,20}$/.test(value)
        ? { size: Number(value) }
        : "501 5.5.4 Bad message size syntax";
    case "BODY":
      if (/^8bitmime$/i.test(value)) return { encoding: "8bit" };
      return /^7bit$/i.test(value) ? { encoding: "7bit" } : badParameter(keyword);
    case "RET":
      if (/^full$/i.test(value)) return { ret: "FULL" };
      return /^hdrs$/i.test(value) ? { ret: "HDRS" } : badParameter(keyword);
    case "ENVID": {
      const envid = value.length > longestEnvid ? undefined : decodeXtext(value);
      return envid === undefined || envid === "" ? badParameter(keyword) : { envid };
    }
    default:
      return unknownParameter(keyword);
  }
}

function verpParameter(
  value: string | undefined,
  { delimiters, allowed }: VerpRules,
): MailParameters | Reply {
  if (value === undefined) return { verpDelimiters: delimiters };
  if (areVerpDelimiters(value, allowed)) return { verpDelimiters: value };
  return `501 5.5.4 Error: XVERP needs two characters from ${allowed}`;
}

function rcptParameter(keyword: string, value: string): RcptParameters | Reply {
  switch (keyword) {
    case "NOTIFY": {
      const notify = parseNotify(value);
      return notify === undefined ? badParameter(keyword) : { notify };
    }
    case "ORCPT": {
      const orcpt = parseOriginalRecipient(value);
      return orcpt === undefined ? badParameter(keyword) : { orcpt };
    }
    default:
      return unknownParameter(keyword);
  }
}

/** undefined when a word is unknown, comes twice, or stands beside NEVER (V10). */
function parseNotify(value: string): readonly NotifyCondition[] | undefined {
  const words = value.toUpperCase().split(",");
  const conditions = notifyConditions.filter((condition) => words.includes(condition));
  if (conditions.length !== words.length) return undefined;
  return conditions.includes("NEVER") && conditions.length > 1 ? undefined : conditions;
}

/** `type;xtext` with the address decoded; undefined when malformed (V10). */
function parseOriginalRecipient(value: string): string | undefined {
  const match = /^([A-Za-z0-9.-]+);(.+)$/.exec(value);
  if (value.length > longestOrcpt || match === null) return undefined;
  const address = decodeXtext(match[2] ?? "");
  return address === undefined ? undefined : `${match[1]};${address}`;
}

function findRepeated(parameters: readonly EsmtpParameter[]): string | undefined {
  if (parameters.length < 2) return undefined;
  const seen = new Set<string>();
  return parameters.find(({ keyword }) => seen.size === seen.add(keyword).size)?.keyword;
}

function badParameter(keyword: string): Reply {
  return `501 5.5.4 Bad ${printable(keyword)} parameter syntax`;
}

function unknownParameter(keyword: string): Reply {
  return `555 5.5.4 Unsupported option: ${printable(keyword)}`;
}
