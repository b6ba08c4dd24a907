/**
 * The one catalogue of failures that postmq throws. Outcomes of deliveries are values, not errors; a broken
 * invariant is a panic. Each code has a paragraph in docs/ERRORS.md; a test compares the two.
 */

/** Sysexits as sendmail's callers know them. Source: /usr/include/sysexits.h. */
export const exitCodes = {
  ok: 0,
  usage: 64,
  dataErr: 65,
  unavailable: 69,
  software: 70,
  osErr: 71,
  cantCreate: 73,
  ioErr: 74,
  tempFail: 75,
  noPermission: 77,
  config: 78,
} as const;

export const errorCodes = [
  "PMQ_CONFIG_INVALID",
  "PMQ_STORE_UNREACHABLE",
  "PMQ_STORE_NO_REPLY",
  "PMQ_STORE_FULL",
  "PMQ_STORE_IDENTITY",
  "PMQ_STORE_UNFIT",
  "PMQ_STORE_CONTENT_EXPIRED",
  "PMQ_STORE_FENCED",
  "PMQ_TABLE_UNREADABLE",
  "PMQ_MESSAGE_REFUSED",
  "PMQ_MESSAGE_UNREADABLE",
  "PMQ_EXPORT_FILE",
  "PMQ_IMPORT_PLACE",
  "PMQ_ALREADY_RUNNING",
  "PMQ_USAGE",
] as const;
export type ErrorCode = (typeof errorCodes)[number];

/** A failure with a stable code, the facts as fields, and its cause. */
export class PostmqError extends Error {
  override readonly name = "PostmqError";
  readonly code: ErrorCode;
  readonly facts: Readonly<Record<string, string | number | boolean>>;

  constructor(
    code: ErrorCode,
    message: string,
    options: {
      readonly facts?: Readonly<Record<string, string | number | boolean>>;
      readonly cause?: unknown;
    } = {},
  ) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.facts = options.facts ?? {};
  }
}

export function isPostmqError(error: unknown, code?: ErrorCode): error is PostmqError {
  return error instanceof PostmqError && (code === undefined || error.code === code);
}
