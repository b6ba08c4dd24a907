/** Messages of every kind that a queue can hold, from a seed, as copies with their content. */
import type { CopiedRecipient, MessageCopy } from "@postmq/queue-store";
import type { SeededRandom } from "@postmq/testing";
import { enhancedStatus, makeQueueId, notifyConditions } from "@postmq/vocabulary";
import type { Envelope, RecipientState, RemoteReply } from "@postmq/vocabulary";

export type CopyWithContent = { readonly copy: MessageCopy; readonly content: Buffer };

const queues = ["maildrop", "incoming", "deferred", "hold", "corrupt"] as const;
const remote: RemoteReply = {
  host: "mx.example.com",
  address: "192.0.2.1",
  port: 25,
  reply: "450 4.2.0 later, «später»",
};

export function randomMessages(
  random: SeededRandom,
  nowMs: number,
  count: number,
): readonly CopyWithContent[] {
  return Array.from({ length: count }, (_, i) => randomMessage(random, nowMs, i));
}

function randomMessage(random: SeededRandom, nowMs: number, index: number): CopyWithContent {
  const chance = (of: number) => random.next() < of;
  const queue = random.pick(queues);
  // As intake stamps it: with parts of a millisecond.
  const arrivalMs = nowMs - random.between(0, 10_000_000);
  const isFinished = chance(0.05);
  // One message in twenty has more recipients than a record holds, one in fifty more domains.
  const [most, domains] = chance(0.05) ? [2500, 5] : chance(0.03) ? [1500, 1500] : [5, 3];
  const total = random.between(most > 5 ? most - 100 : 1, most);
  const hasGaps = chance(0.1);
  const recipients = Array.from({ length: total }, (_, number): CopiedRecipient => {
    const address = `u${number}@d${random.between(0, domains - 1)}${chance(0.2) ? ".Example" : ".example"}`;
    return {
      ...(hasGaps ? { number: number + 3 } : {}),
      address,
      ...(chance(0.2) ? { original: `was-${number}@example.com` } : {}),
      ...(chance(0.1) ? { orcpt: `rfc822;x${number}@example.org` } : {}),
      ...(chance(0.1) ? { notify: [random.pick(notifyConditions)] } : {}),
      state: isFinished ? { kind: "done" } : randomState(random),
    };
  });
  return {
    copy: {
      id: makeQueueId(nowMs * 1000 + index, random.between(0, 2 ** 32)),
      queue,
      arrivalMs,
      createdMs: arrivalMs + random.between(0, 5000),
      envelope: randomEnvelope(random),
      recipients,
      attempts: random.between(0, 4),
      ...(chance(0.5) ? { lastAttemptMs: arrivalMs + 5 } : {}),
      ...(queue === "deferred" || (queue === "hold" && chance(0.5))
        ? { dueMs: Math.floor(nowMs) + random.between(-1e6, 1e6) }
        : {}),
      isForceExpired: chance(0.1),
      wasWarned: chance(0.2),
      isFinished,
      ...(queue === "corrupt" ? { corruptReason: "it was « odd »" } : {}),
    },
    content: randomContent(random),
  };
}

function randomState(random: SeededRandom): RecipientState {
  const told = {
    status: enhancedStatus("4.2.0"),
    reason: "host mx.example.com[192.0.2.1] said: later",
    ...(random.next() < 0.5 ? { remote } : {}),
  };
  return random.pick<RecipientState>([
    { kind: "todo" },
    { kind: "todo" },
    { kind: "done" },
    { kind: "deferred", ...told },
    { kind: "failed", ...told, status: enhancedStatus("5.1.1") },
    { kind: "sent", action: "relayed", ...told, status: enhancedStatus("2.0.0") },
  ]);
}

function randomEnvelope(random: SeededRandom): Envelope {
  const chance = (of: number) => random.next() < of;
  return {
    sender: random.pick(["", "from@Sender.example", "Ünï@sender.example", '"a b"@x.example']),
    origin: random.pick(["smtp", "http", "sendmail", "bounce"]),
    ...(chance(0.3) ? { encoding: random.pick(["7bit", "8bit"]) } : {}),
    ...(chance(0.1) ? { smtputf8: true } : {}),
    ...(chance(0.1) ? { requireTls: true } : {}),
    ...(chance(0.1) ? { envid: "QQ314159" } : {}),
    ...(chance(0.1) ? { ret: random.pick(["FULL", "HDRS"]) } : {}),
    ...(chance(0.1) ? { verpDelimiters: "+=" } : {}),
    ...(chance(0.1) ? { fullName: "A. Name" } : {}),
    ...(chance(0.5)
      ? {
          client: {
            name: "c.example",
            address: "192.0.2.9",
            port: 999,
            helo: "c",
            protocol: "ESMTP",
          },
        }
      : {}),
  };
}

/** Bytes of every value; empty, of one chunk, or of several. */
function randomContent(random: SeededRandom): Buffer {
  const size = random.pick([0, 1, 500, 500, 500, 256 * 1024, 256 * 1024 + 1, 700_000]);
  const content = Buffer.alloc(size);
  for (let at = 0; at < size; at += 1) content[at] = (at * 31 + random.seed) & 0xff;
  return content;
}
