/**
 * POST /v1/messages: mail handed in by HTTP, as JSON or as a raw message.
 *
 * What is wrong with a request is answered before its message is stored; 202 comes after the durable write. Without a
 * reply from the store the answer is 503 and the mail may or may not be stored: the caller may send it again
 * (fault 2).
 *
 * Source: spec http-api.md §1; RFC 9110 (Retry-After), RFC 9457.
 */
import type { Readable } from "node:stream";

import { clientOf, sendProblem } from "@postmq/service-kit";
import type { NeedsScope } from "@postmq/service-kit";
import { PostmqError } from "@postmq/vocabulary";
import type { ClientAttributes } from "@postmq/vocabulary";
import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";

import { composeMessage } from "./compose-message.ts";
import { FieldErrors } from "./field-errors.ts";
import type { FieldError } from "./field-errors.ts";
import { parseJsonSubmission, parseQueryEnvelope } from "./submission.ts";
import type { SubmissionEnvelope, SubmissionRules } from "./submission.ts";
import { assertOpen, takeIn } from "./take-in.ts";
import type { Handed, TakeInOptions } from "./take-in.ts";

export type SubmissionRoutesOptions = TakeInOptions & {
  readonly rules: SubmissionRules;
  readonly myhostname: string;
  /** api_tokens is set: clients have names. */
  readonly hasTokens: boolean;
  readonly nowMs: () => number;
  /** Called once for each message taken in. */
  readonly onTaken: () => void;
};

const rawType = "message/rfc822";
const errorsShown = 50;

export function submissionRoutes(
  app: FastifyInstance,
  needs: NeedsScope,
  options: SubmissionRoutesOptions,
): void {
  app.addContentTypeParser(rawType, (_request, payload, done) => done(null, payload));
  app.post("/v1/messages", { onRequest: needs("messages:send") }, async (request, reply) => {
    assertOpen(options.intake);
    if (request.headers["idempotency-key"] !== undefined) {
      // Ignored, it would promise what is not kept.
      const detail = "is not supported by this version";
      return refuse(reply, [{ field: "Idempotency-Key", detail }]);
    }
    const isRaw = request.headers["content-type"]?.toLowerCase().startsWith(rawType) === true;
    return isRaw
      ? await submitRaw(request, reply, options)
      : await submitJson(request, reply, options);
  });
}

async function submitRaw(
  request: FastifyRequest,
  reply: FastifyReply,
  options: SubmissionRoutesOptions,
): Promise<FastifyReply> {
  const errors = new FieldErrors();
  const envelope = parseQueryEnvelope(request.query, {
    ...options.rules,
    errors,
  });
  if (envelope === undefined) return refuse(reply, errors.all);
  return await hand(request, reply, {
    ...options,
    envelope,
    makeContent: async () => readBody(request.body),
  });
}

async function submitJson(
  request: FastifyRequest,
  reply: FastifyReply,
  options: SubmissionRoutesOptions,
): Promise<FastifyReply> {
  const errors = new FieldErrors();
  const query = errors.members(request.query, "", { known: [] });
  const submission = parseJsonSubmission(request.body, {
    ...options.rules,
    errors,
  });
  if (query === undefined || submission === undefined) return refuse(reply, errors.all);
  const { envelope, message } = submission;
  return await hand(request, reply, {
    ...options,
    envelope,
    makeContent: async (id) => {
      if (message.kind === "raw") return [message.raw];
      const messageId = `<${id}@${options.myhostname}>`;
      const made = { sender: envelope.sender, messageId, dateMs: options.nowMs() };
      return [await composeMessage(message.content, made)];
    },
  });
}

type Handing = SubmissionRoutesOptions & {
  readonly envelope: SubmissionEnvelope;
  readonly makeContent: (id: Handed["id"]) => Promise<Handed["content"]>;
};

async function hand(
  request: FastifyRequest,
  reply: FastifyReply,
  options: Handing,
): Promise<FastifyReply> {
  const { envelope } = options;
  if (!clientOf(request).maySendAs(envelope.sender)) {
    const detail = `This token may not send as "${envelope.sender}".`;
    return sendProblem(reply, { status: 403, detail });
  }
  const id = options.intake.newId();
  const content = await options.makeContent(id);
  const client = clientAttributes(request, options.hasTokens);
  switch (await takeIn({ id, envelope, client, content }, options)) {
    case "tooBig":
      reply.header("Connection", "close");
      return sendProblem(reply, {
        status: 413,
        detail: `The message is too large: message_size_limit is ${options.maxBytes} bytes.`,
      });
    case "empty":
      return refuse(reply, [{ field: "body", detail: "is empty: there is no message" }]);
    case "stored":
      options.onTaken();
      return reply
        .code(202)
        .header("Location", `/v1/messages/${id}`)
        .send({
          id,
          queue_id: id,
          queue: "maildrop",
          recipients: envelope.recipients.map(({ address }) => address),
        });
  }
}

function refuse(reply: FastifyReply, errors: readonly FieldError[]): FastifyReply {
  const shown = errors.slice(0, errorsShown);
  const detail = shown.map((error) => `${error.field} ${error.detail}`).join("; ");
  return sendProblem(reply, { status: 422, detail, members: { errors } });
}

async function* readBody(body: unknown): AsyncGenerator<Buffer, void, void> {
  if (!isReadable(body)) return;
  try {
    for await (const chunk of body) yield chunk;
  } catch (cause) {
    throw new PostmqError("PMQ_MESSAGE_REFUSED", "the request ended before its message", { cause });
  }
}

function isReadable(body: unknown): body is Readable & AsyncIterable<Buffer> {
  return typeof body === "object" && body !== null && Symbol.asyncIterator in body;
}

function clientAttributes(request: FastifyRequest, hasTokens: boolean): ClientAttributes {
  const address = request.ip.replace(/^::ffff:(?=\d+\.)/i, "");
  const port = request.socket.remotePort;
  const login = { saslMethod: "bearer", saslUsername: clientOf(request).name };
  return {
    name: address === "127.0.0.1" || address === "::1" ? "localhost" : "unknown",
    address,
    protocol: "HTTP",
    ...(port === undefined ? {} : { port }),
    ...(hasTokens ? login : {}),
  };
}
