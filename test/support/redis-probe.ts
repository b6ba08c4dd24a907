/**
 * Looks at an instance's records in Redis from outside: where each delivery request stands, which messages wait
 * without a ring. Only tests do this; it follows the layout told in queue-store's lua/include/records.lua.
 */
import { waitFor } from "@postmq/testing";
import type { RedisServer } from "@postmq/testing";

export type ProbedRequest = {
  readonly id: string;
  readonly number: string;
  readonly state: "queued" | "claimed" | "dotSent";
  /** The claim's worker, "" while queued. */
  readonly worker: string;
  /** Addresses of its recipients. */
  readonly recipients: readonly string[];
};

const states = { q: "queued", c: "claimed", d: "dotSent" } as const;

const requestsScript = `
local found = {}
for _, key in ipairs(redis.call('KEYS', ARGV[1] .. ':m:*')) do
  local record = redis.call('HGETALL', key)
  local fields = {}
  for i = 1, #record, 2 do fields[record[i]] = record[i + 1] end
  for name, value in pairs(fields) do
    local number = string.match(name, '^R(%d+)$')
    if number then
      local state, claim, list = string.match(value, '^%d+\\n(%a)\\n([^\\n]*)\\n[^\\n]*\\n[^\\n]*\\n([^\\n]*)$')
      local addresses = {}
      for from, to in string.gmatch(list, '(%d+)%-?(%d*)') do
        for i = tonumber(from), tonumber(to ~= '' and to or from) do
          addresses[#addresses + 1] = string.match(fields[tostring(i)] or '', '^[^\\n]*')
        end
      end
      found[#found + 1] = table.concat({ string.match(key, ':m:(.*)$'), number, state, claim,
        table.concat(addresses, ',') }, ' ')
    end
  end
end
return found`;

/** All delivery requests that are not ended. */
export async function probeRequests(
  redis: RedisServer,
  instance = "default",
): Promise<readonly ProbedRequest[]> {
  const text = await redis.cli("EVAL", requestsScript, "0", `postmq:{${instance}}`);
  return text.split("\n").flatMap((line) => {
    const [id = "", number = "", state = "", worker = "", recipients = ""] = line.split(" ");
    if (state !== "q" && state !== "c" && state !== "d") return [];
    return [{ id, number, state: states[state], worker, recipients: recipients.split(",") }];
  });
}

const unrungScript = `
local rung = {}
for _, key in ipairs(redis.call('KEYS', ARGV[1] .. ':' .. ARGV[2] .. ':*')) do
  if redis.call('TYPE', key).ok == 'hash' then
    local data = redis.call('HGET', key, 'data')
    for id in string.gmatch(data or '', '"([%w_]+)"') do rung[id] = true end
  end
end
local found = {}
for _, id in ipairs(redis.call('ZRANGE', ARGV[1] .. ':q:' .. ARGV[2], 0, -1)) do
  if not rung[id] then found[#found + 1] = id end
end
return found`;

/**
 * From now on new mail rings for the leader, as it does once the leader's promise to look by itself has run out. The
 * leader must be frozen, else it promises anew.
 */
export async function endLooking(redis: RedisServer, instance = "default"): Promise<void> {
  await redis.cli("DEL", `postmq:{${instance}}:looking`);
}

/** Messages in a queue that no waiting job of it names. Its reader must be frozen for that to mean anything. */
export async function probeUnrung(
  redis: RedisServer,
  queue: "maildrop" | "incoming",
  instance = "default",
): Promise<readonly string[]> {
  const text = await redis.cli("EVAL", unrungScript, "0", `postmq:{${instance}}`, queue);
  return text.split("\n").filter((line) => line !== "");
}

/** Number of messages in a queue. */
export async function probeDepth(
  redis: RedisServer,
  queue: string,
  instance = "default",
): Promise<number> {
  return Number(await redis.cli("ZCARD", `postmq:{${instance}}:q:${queue}`));
}

/** Waits until no message is in any queue but hold and corrupt: no copy of anything is still to come. */
export async function waitUntilDrained(redis: RedisServer, timeoutMs = 120_000): Promise<void> {
  // In one act, since a message may move from one queue to the next between two questions.
  const script = `local sum = 0
    for _, queue in ipairs({ 'maildrop', 'incoming', 'active', 'deferred' }) do
      sum = sum + redis.call('ZCARD', ARGV[1] .. ':q:' .. queue)
    end
    return sum`;
  const count = () => redis.cli("EVAL", script, "0", "postmq:{default}");
  await waitFor(async () => (await count()) === "0", {
    timeoutMs,
    everyMs: 100,
    describe: "all queues to be empty",
  });
}

/** Whether a connection of that process is still known to Redis. */
export async function isConnected(redis: RedisServer, pid: number): Promise<boolean> {
  const clients = await redis.cli("CLIENT", "LIST");
  return new RegExp(`name=\\S*-${pid}\\b`).test(clients);
}

/** What the leader tells of the workers that it counts on. */
export type ProbedWorkers = { readonly capacity: number; readonly liveWorkers: number };

/** Both 0 while nobody leads. */
export async function probeWorkers(
  redis: RedisServer,
  instance = "default",
): Promise<ProbedWorkers> {
  const json = await redis.cli("GET", `postmq:{${instance}}:scheduler`);
  const count = (name: string) => Number(new RegExp(`"${name}":(\\d+)`).exec(json)?.[1] ?? 0);
  return { capacity: count("capacity"), liveWorkers: count("liveWorkers") };
}
