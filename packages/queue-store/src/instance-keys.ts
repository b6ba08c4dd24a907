/** Keys of one instance: everything carries the prefix `postmq:{instance}`, one hash slot (DESIGN §5). */
import { createHash } from "node:crypto";
import type { MessageQueue } from "@postmq/vocabulary";

export type InstanceKeys = ReturnType<typeof instanceKeys>;

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
    domainNames: (queue: MessageQueue) => `${prefix}:dn:${queue}`,
    senderNames: (queue: MessageQueue) => `${prefix}:sn:${queue}`,
    /** Members by recipient domain; only its hash enters the key. */
    byDomain: (queue: MessageQueue, domain: string) =>
      `${prefix}:d:${queue}:${createHash("sha1").update(domain).digest("hex").slice(0, 16)}`,
    due: `${prefix}:due`,
    owed: `${prefix}:owed`,
    identity: `${prefix}:identity`,
    leader: `${prefix}:leader`,
    fence: `${prefix}:fence`,
    events: `${prefix}:events`,
    eventNumber: `${prefix}:eventno`,
    workers: `${prefix}:workers`,
    flush: `${prefix}:flush`,
    flow: `${prefix}:flow`,
    unthrottled: `${prefix}:unthrottled`,
    destinations: `${prefix}:destinations`,
    scheduler: `${prefix}:scheduler`,
    heartbeat: (worker: string) => `${prefix}:w:${worker}`,
  };
}
