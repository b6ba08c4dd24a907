/**
 * Errors of the HTTP API as problem details, and what each failure becomes.
 *
 * Source: RFC 9457; spec http-api.md §1.
 */
import type { FastifyReply } from "fastify";
import { STATUS_CODES } from "node:http";
import { PostmqError } from "@postmq/vocabulary";

export type HttpProblem = {
  readonly status: number;
  /** What happened this time, for the caller to read. */
  readonly detail: string;
  /** Further members, e.g. errors per field or recipient. */
  readonly members?: Readonly<Record<string, unknown>>;
  readonly retryAfterSeconds?: number;
};

/** Sends `application/problem+json`. */
export function sendProblem(reply: FastifyReply, problem: HttpProblem): FastifyReply {
  if (problem.retryAfterSeconds !== undefined) {
    reply.header("Retry-After", String(problem.retryAfterSeconds));
  }
  return reply
    .code(problem.status)
    .header("Content-Type", "application/problem+json; charset=utf-8")
    .send(
      JSON.stringify({
        ...problem.members,
        type: "about:blank",
        title: STATUS_CODES[problem.status] ?? "Error",
        status: problem.status,
        detail: problem.detail,
      }),
    );
}

/** The problem that an error becomes; `isOurs`: the cause is ours to know and not the caller's. */
export function problemOf(error: unknown): HttpProblem & { readonly isOurs: boolean } {
  if (error instanceof PostmqError) return { ...problemOfFailure(error), isOurs: false };
  const status = statusOf(error);
  if (error instanceof Error && status >= 400 && status < 500) {
    const isInvalid = "validation" in error && error.validation !== undefined;
    return { status: isInvalid ? 422 : status, detail: error.message, isOurs: false };
  }
  return {
    status: 500,
    detail: "The request could not be served; the log says why.",
    isOurs: true,
  };
}

function statusOf(error: unknown): number {
  const status = error instanceof Error && "statusCode" in error ? error.statusCode : undefined;
  return typeof status === "number" ? status : 500;
}

function problemOfFailure(error: PostmqError): HttpProblem {
  const members = { code: error.code };
  switch (error.code) {
    case "PMQ_MESSAGE_REFUSED":
    case "PMQ_USAGE":
      return { status: 422, detail: error.message, members };
    case "PMQ_STORE_UNREACHABLE":
    case "PMQ_STORE_NO_REPLY":
    case "PMQ_STORE_FULL":
    case "PMQ_STORE_IDENTITY":
    case "PMQ_STORE_CONTENT_EXPIRED":
    case "PMQ_STORE_FENCED":
    case "PMQ_STORE_UNFIT":
      return { status: 503, detail: storeTrouble[error.code], members, retryAfterSeconds: 10 };
    case "PMQ_CONFIG_INVALID":
    case "PMQ_TABLE_UNREADABLE":
    case "PMQ_MESSAGE_UNREADABLE":
    case "PMQ_EXPORT_FILE":
    case "PMQ_IMPORT_PLACE":
    case "PMQ_ALREADY_RUNNING":
      return { status: 500, detail: "The request could not be served; the log says why.", members };
  }
}

/** Words for callers: the error's own may name the store's address. */
const storeTrouble = {
  PMQ_STORE_UNREACHABLE: "The queue can't be reached; nothing was stored.",
  PMQ_STORE_NO_REPLY: "The queue did not answer; whether this was stored is not known.",
  PMQ_STORE_FULL: "The queue is full; nothing was stored.",
  PMQ_STORE_IDENTITY: "The queue is not the one this service was started with; nothing was stored.",
  PMQ_STORE_CONTENT_EXPIRED: "The content arrived too slowly; nothing was stored.",
  PMQ_STORE_FENCED: "The queue is being taken over; nothing was stored.",
  PMQ_STORE_UNFIT: "The queue's store is not fit; nothing was stored.",
} as const;
