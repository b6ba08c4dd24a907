/**
 * Readings that walk much of the queue, or of what is kept of it, for one request: few at once, so that no number of
 * callers keeps Redis and this process from everything else. Who comes when all places are taken is told to come again.
 * Streams, which last as long as their readers like, have places of their own.
 *
 * Source: spec http-api.md §2 "429"; security.md 18.
 */
import { sendProblem } from "@postmq/service-kit";
import type { FastifyReply } from "fastify";
import type { Readable } from "node:stream";

/** Of either kind. */
const mostAtOnce = 4;

export class LongReads {
  #underWay = 0;
  #streams = 0;

  /** The answer of `read`, or 429. */
  async during(reply: FastifyReply, read: () => Promise<object>): Promise<object> {
    if (this.#underWay >= mostAtOnce) return sendBusy(reply);
    this.#underWay += 1;
    try {
      return await read();
    } finally {
      this.#underWay -= 1;
    }
  }

  /** Sends a stream, whose place is taken until it has been read or thrown away; or 429. */
  send(reply: FastifyReply, open: () => Readable): FastifyReply {
    if (this.#streams >= mostAtOnce) return sendBusy(reply);
    const stream = open();
    this.#streams += 1;
    stream.once("close", () => {
      this.#streams -= 1;
    });
    return reply.send(stream);
  }
}

function sendBusy(reply: FastifyReply): FastifyReply {
  return sendProblem(reply, {
    status: 429,
    detail: `${mostAtOnce} long listings, searches or counts are under way: come again when one has ended.`,
    retryAfterSeconds: 1,
  });
}
