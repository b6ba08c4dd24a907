/** Keys of one instance: everything carries the prefix `postmq:{instance}`, one hash slot (DESIGN §5). */
import { createHash } from "node:crypto";
import { senderKey } from "@postmq/vocabulary";
import type { MessageQueue } from "@postmq/vocabulary";

export type InstanceKeys = ReturnType<typeof instanceKeys>;

/** What stands in a key, or in a record, for text that somebody else chose. */
export function keyHash(text: string): string {
  return createHash("sha1").update(text).digest("hex").slice(0, 16);
}

export function instanceKeys(instanceName: string) {
  const prefix = `postmq:{${instanceName}}`;
  return {
    prefix,
    record: (id: string) => `${prefix}:m:${id}`,
    taken: (id: string) => `${prefix}:k:${id}`,
    byArrival: (queue: MessageQueue) => `${prefix}:q:${queue}`,
    byEntry: (queue: MessageQueue) => `${prefix}:e:${queue}`,
    large: (queue: MessageQueue) => `${prefix}:l:${queue}`,
    largeDomains: (id: string, round: string) => `${prefix}:md:${id}:${round}`,
    domainNames: (queue: MessageQueue) => `${prefix}:dc:${queue}`,
    senderNames: (queue: MessageQueue) => `${prefix}:sc:${queue}`,
    /** Members by recipient domain; only its hash enters the key. */
    byDomain: (queue: MessageQueue, domain: string) => `${prefix}:d:${queue}:${keyHash(domain)}`,
    /** Messages with several recipients in a domain: how many more than one. */
    extras: (queue: MessageQueue, domain: string) => `${prefix}:x:${queue}:${keyHash(domain)}`,
    /** Members by sender domain. */
    bySenderDomain: (queue: MessageQueue, domain: string) =>
      `${prefix}:s:${queue}:${keyHash(domain)}`,
    /** Messages of a sender by arrival, those of all queues; only in a record is told whether it is really its sender. */
    bySender: (sender: string) => `${prefix}:f:${keyHash(senderKey(sender))}`,
    /** Messages that are on their way out, and where they may have gone (lua/include/copies.lua). */
    moving: `${prefix}:moving`,
    asides: `${prefix}:asides`,
    due: `${prefix}:due`,
    owed: `${prefix}:owed`,
    identity: `${prefix}:identity`,
    leader: `${prefix}:leader`,
    fence: `${prefix}:fence`,
    events: `${prefix}:events`,
    eventNumber: `${prefix}:eventno`,
    workers: `${prefix}:workers`,
    gone: `${prefix}:gone`,
    flush: `${prefix}:flush`,
    flow: `${prefix}:flow`,
    unthrottled: `${prefix}:unthrottled`,
    destinations: `${prefix}:destinations`,
    scheduler: `${prefix}:scheduler`,
    /** What happened to messages (lua/include/timeline.lua). */
    timeline: `${prefix}:timeline`,
    audit: `${prefix}:audit`,
    operation: (id: string) => `${prefix}:op:${id}`,
    operations: `${prefix}:ops`,
    openOperations: `${prefix}:opq`,
    heartbeat: (worker: string) => `${prefix}:w:${worker}`,
  };
}
