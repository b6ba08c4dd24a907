/**
 * `GET /v1/messages/{id}/raw`: the message itself, headers and body, as it will be sent.
 *
 * It is streamed chunk by chunk, however large it is. A message that is delivered or deleted meanwhile ends the
 * connection short of its Content-Length, so that half of it can't be taken for the whole. What strangers wrote is
 * given as a file to keep, never to be shown by a browser.
 *
 * Source: spec http-api.md §2 "postcat -q"; RFC 5322, RFC 2046 §5.2.1 for message/rfc822.
 */
import { Readable } from "node:stream";

import { whileReachable } from "@postmq/queue-admin";
import type { ListedMessage, Looking, Store } from "@postmq/queue-store";
import { sendProblem } from "@postmq/service-kit";
import type { NeedsScope } from "@postmq/service-kit";
import { isPostmqError, parseQueueId } from "@postmq/vocabulary";
import type { FastifyInstance, FastifyReply } from "fastify";

import { assertEmpty } from "./queue-query.ts";

export type RawRouteOptions = { readonly store: Store; readonly looking: Looking };

export function rawRoute(app: FastifyInstance, needs: NeedsScope, options: RawRouteOptions): void {
  const onRequest = needs("messages:read");
  app.get<{ Params: { id: string } }>("/v1/messages/:id/raw", { onRequest }, (request, reply) => {
    assertEmpty(request.query);
    return sendContent(request.params.id, reply, options);
  });
}

async function sendContent(
  text: string,
  reply: FastifyReply,
  options: RawRouteOptions,
): Promise<FastifyReply> {
  const message = await messageNamed(text, options);
  if (message === undefined) return sendGone(reply);
  const chunks = reachableChunks(message, options);
  let first: IteratorResult<Buffer, void>;
  try {
    first = await chunks.next();
  } catch (error) {
    const isLost = isPostmqError(error, "PMQ_MESSAGE_UNREADABLE");
    if (!isLost || (await messageNamed(text, options)) !== undefined) throw error;
    return sendGone(reply);
  }
  return reply
    .header("Content-Type", "message/rfc822")
    .header("Content-Length", message.content.sizeBytes)
    .header("Content-Disposition", `attachment; filename="${message.id}.eml"`)
    .header("X-Content-Type-Options", "nosniff")
    .header("Cache-Control", "no-store")
    .send(Readable.from(startedWith(first, chunks)));
}

async function messageNamed(
  text: string,
  { store, looking }: RawRouteOptions,
): Promise<ListedMessage | undefined> {
  const id = parseQueueId(text);
  return id === undefined ? undefined : await whileReachable(store, () => looking.message(id));
}

async function* reachableChunks(
  message: ListedMessage,
  { store, looking }: RawRouteOptions,
): AsyncGenerator<Buffer, void, void> {
  const chunks = looking.readContent(message.content)[Symbol.asyncIterator]();
  for (;;) {
    const next = await whileReachable(store, () => chunks.next());
    if (next.done === true) return;
    yield next.value;
  }
}

/** All of them, the first of which has been read. */
async function* startedWith(
  first: IteratorResult<Buffer, void>,
  rest: AsyncGenerator<Buffer, void, void>,
): AsyncGenerator<Buffer, void, void> {
  if (first.done === true) return;
  yield first.value;
  yield* rest;
}

function sendGone(reply: FastifyReply): FastifyReply {
  return sendProblem(reply, { status: 404, detail: "There is no such message in the queue." });
}
