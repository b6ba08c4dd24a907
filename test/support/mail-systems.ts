/**
 * Two mail systems side by side under the same settings: a Postfix of our own, and postmq.
 *
 * Each has a destination of its own for every scene: the scene's domain goes to the port of the scene's sink by
 * transport_maps, and a next hop with its port is a destination of its own for both schedulers. So scenes run at the
 * same time without touching each other.
 */
import assert from "node:assert/strict";
import { chmod, mkdtemp, rm } from "node:fs/promises";
import { join } from "node:path";

import { postfixObstacle, PrivatePostfix, SmtpClient, startPostmq } from "@postmq/testing";

import { deliveryLines } from "./delivery-log.ts";
import type { DeliveryLine } from "./delivery-log.ts";
import { transportMaps } from "./many-destinations.ts";

export type MailSystem = AsyncDisposable & {
  readonly smtpPort: number;
  readonly readLog: () => Promise<string>;
};

export type Pair<T> = { readonly postfix: T; readonly postmq: T };

export type MailSystemOptions = {
  /** By Postfix name; both read the same. */
  readonly settings: Readonly<Record<string, string>>;
  /** Domain to the port of its sink. */
  readonly ports: ReadonlyMap<string, number>;
};

/** @throws when no Postfix can be run here: the comparison is not to be skipped silently. */
export async function startPostfixSystem(options: MailSystemOptions): Promise<MailSystem> {
  assert.equal(postfixObstacle(), undefined);
  await using stack = new AsyncDisposableStack();
  // Postfix's own user must be able to enter every directory above its queue.
  const directory = await mkdtemp("/var/tmp/postmq-postfix-");
  stack.defer(() => rm(directory, { recursive: true, force: true }));
  await chmod(directory, 0o755);
  const postfix = stack.use(
    await PrivatePostfix.start(join(directory, "postfix"), 0, {
      ...options.settings,
      relayhost: "",
      transport_maps: transportMaps(options.ports),
    }),
  );
  const owned = stack.move();
  return {
    smtpPort: postfix.port,
    readLog: () => postfix.readLog(),
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

export async function startPostmqSystem(options: MailSystemOptions): Promise<MailSystem> {
  const parameters = { ...options.settings, transport_maps: transportMaps(options.ports) };
  const system = await startPostmq({ parameters });
  return {
    smtpPort: system.smtpPort,
    readLog: async () => system.logs,
    [Symbol.asyncDispose]: () => system[Symbol.asyncDispose](),
  };
}

/** Hands in messages of one recipient each, u1@domain and so on, over one connection. */
export async function handIn(system: MailSystem, domain: string, messages: number): Promise<void> {
  using client = await SmtpClient.open(system.smtpPort);
  for (let number = 1; number <= messages; number += 1) {
    await deliverOver(client, [`u${number}@${domain}`]);
  }
}

/** Hands in one message. */
export async function handInOne(system: MailSystem, recipients: readonly string[]): Promise<void> {
  using client = await SmtpClient.open(system.smtpPort);
  await deliverOver(client, recipients);
}

async function deliverOver(client: SmtpClient, recipients: readonly string[]): Promise<void> {
  const content = "Subject: parity\r\n\r\nOne line of text.\r\n";
  const reply = await client.deliver({ from: "sender@src.example.com", to: recipients, content });
  assert.equal(reply.code, 250, reply.text);
}

/** What the log says of deliveries to a domain. */
export async function readDeliveries(
  system: MailSystem,
  domain: string,
): Promise<readonly DeliveryLine[]> {
  return deliveryLines(await system.readLog(), domain);
}
