/** An instance of postmq without daemons, with given messages in its queues: its tools as the programs they are. */
import { randomBytes } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { openStore } from "@postmq/queue-store";
import type { RestorableMessage, Store } from "@postmq/queue-store";
import { run } from "@postmq/testing";

import type { ToolRan } from "./postfix-spool.ts";
import type { QueuedMail } from "./queued-mail.ts";

const program = join(import.meta.dirname, "../../packages/commands/bin/postmq");
const messagesAtOnce = 50;

type Instance = { readonly redisUrl: string; readonly instanceName: string };

export class PostmqQueue implements AsyncDisposable {
  readonly directory: string;
  readonly #instance: Instance;

  private constructor(directory: string, instance: Instance) {
    this.directory = directory;
    this.#instance = instance;
  }

  static async fill(redisUrl: string, messages: readonly QueuedMail[]): Promise<PostmqQueue> {
    const instanceName = `parity-${randomBytes(6).toString("hex")}`;
    const directory = await mkdtemp(join(tmpdir(), "postmq-parity-"));
    const instance = { redisUrl, instanceName };
    await using store = await open(instance);
    await restore(
      store,
      messages.filter(({ queue }) => queue === "active"),
    );
    await makeActive(store);
    await restore(
      store,
      messages.filter(({ queue }) => queue !== "active"),
    );
    return new PostmqQueue(directory, instance);
  }

  async run(words: readonly string[], input = ""): Promise<ToolRan> {
    const env = {
      POSTMQ_REDIS_URL: this.#instance.redisUrl,
      POSTMQ_INSTANCE_NAME: this.#instance.instanceName,
      POSTMQ_DATA_DIRECTORY: this.directory,
      POSTMQ_DROP_DIRECTORY: "",
      POSTMQ_MYHOSTNAME: "mail.example.com",
    };
    const ran = await run(program, words, { env, input });
    return { code: ran.code, out: ran.stdout, err: ran.stderr };
  }

  /** Its store, for what no command tells. */
  openStore(): Promise<Store> {
    return open(this.#instance);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await rm(this.directory, { recursive: true, force: true });
  }
}

function open({ redisUrl, instanceName }: Instance): Promise<Store> {
  return openStore({
    redisUrl,
    instanceName,
    processName: "test",
    memoryHighWater: 0.8,
    heartbeatMs: 10_000,
    leaseMs: 8_000,
  });
}

async function restore(store: Store, messages: readonly QueuedMail[]): Promise<void> {
  for (let from = 0; from < messages.length; from += messagesAtOnce) {
    const some: RestorableMessage[] = [];
    for (const { copy, content } of messages.slice(from, from + messagesAtOnce)) {
      const writer = store.copying().openContent(copy.id);
      await writer.write(Buffer.from(content.replaceAll("\n", "\r\n")));
      some.push({ copy, content: await writer.finish() });
    }
    const answers = await store.copying().restore(some);
    if (answers === "overtaken" || answers.includes("already")) throw new Error("not stored");
  }
}

/** Takes all of incoming into active, as the leader does. */
async function makeActive(store: Store): Promise<void> {
  const leadership = store.leadership();
  const fence = await leadership.acquire();
  if (fence === undefined) throw new Error("somebody leads this instance");
  const scheduling = store.scheduling();
  await scheduling.startEvents();
  await scheduling.importMessages({
    fence,
    from: "incoming",
    maxMessages: 10_000,
    maxRecipients: 100_000,
  });
  await scheduling.closeImport(fence);
  await leadership.release(fence);
}
