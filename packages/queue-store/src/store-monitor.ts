/**
 * Looks at Redis once a second: is it there, is it ours, is there room, and what is the time.
 *
 * Intake asks it before each message, without a round trip. The clock is Redis TIME plus a monotonic offset, so that
 * a machine whose clock is wrong stamps nothing wrong (DESIGN §4).
 *
 * Source: P1, P9; DESIGN §5 "identity key"; faults 17, 18, 20, 22.
 */
import type { Redis } from "ioredis";
import { PostmqError } from "@postmq/vocabulary";
import type { StoreHealth } from "./contract.ts";
import type { InstanceKeys } from "./instance-keys.ts";
import { clockOffsetMs } from "./redis-clock.ts";

const lookIntervalMs = 1000;
/** Redis counts as away when it has not answered for this long. */
const silenceMs = 5000;
const oldestVersion = [7, 0] as const;

type Look = {
  readonly atMs: number;
  readonly identity: string | null;
  readonly memoryRatio: number;
  readonly maxMemoryBytes: number;
  readonly policy: string;
};

function infoField(info: string, name: string): string {
  return new RegExp(`^${name}:(.*?)\\r?$`, "m").exec(info)?.[1] ?? "";
}

function unfit(text: string): never {
  throw new PostmqError("PMQ_STORE_UNFIT", text);
}

/** @throws PMQ_STORE_UNFIT naming what is wrong with this Redis. Source: P9, fault 18. */
function checkVersion(info: string): void {
  const version = infoField(info, "redis_version");
  const [major = 0, minor = 0] = version.split(".").map(Number);
  const [needMajor, needMinor] = oldestVersion;
  if (major < needMajor || (major === needMajor && minor < needMinor)) {
    unfit(`Redis ${version} is too old: ${oldestVersion.join(".")} or newer is needed`);
  }
}

function checkPolicy(policy: string): void {
  if (policy !== "" && policy !== "noeviction") {
    unfit(`Redis has maxmemory-policy ${policy}, which throws mail away: set it to noeviction`);
  }
}

export class StoreMonitor {
  readonly #redis: Redis;
  readonly #keys: InstanceKeys;
  readonly #highWater: number;
  #look: Look | undefined;
  #clockOffsetMs: number | undefined;
  #timer: NodeJS.Timeout | undefined;
  #isLooking = false;
  #isForeign = false;
  identity = "";
  durability = "unknown";

  constructor(redis: Redis, keys: InstanceKeys, memoryHighWater: number) {
    this.#redis = redis;
    this.#keys = keys;
    this.#highWater = memoryHighWater;
  }

  /** First look: checks that Redis is fit, and learns or makes the identity. */
  async start(newIdentity: string): Promise<void> {
    const info = await this.#redis.info();
    checkVersion(info);
    checkPolicy(infoField(info, "maxmemory_policy"));
    this.durability = await this.#readDurability(infoField(info, "aof_enabled") === "1");
    this.identity = (await this.#redis.get(this.#keys.identity)) ?? (await this.#make(newIdentity));
    await this.#lookNow();
    this.#timer = setInterval(() => {
      if (this.#isLooking) return;
      this.#isLooking = true;
      this.#lookNow()
        .catch(() => undefined) // Redis is away: the age of the last look tells.
        .finally(() => {
          this.#isLooking = false;
        });
    }, lookIntervalMs);
    this.#timer.unref();
  }

  /** Only where there is none yet: a full Redis refuses this write, and draining it must be possible then (P9). */
  async #make(identity: string): Promise<string> {
    await this.#redis.set(this.#keys.identity, identity, "NX");
    return (await this.#redis.get(this.#keys.identity)) ?? unfit("the identity key vanished");
  }

  async #readDurability(isAof: boolean): Promise<string> {
    if (!isAof) return "off";
    try {
      const reply = await this.#redis.call("CONFIG", "GET", "appendfsync");
      const flat = Array.isArray(reply) ? reply.flat() : Object.values(reply ?? {});
      return String(flat.at(-1) ?? "unknown");
    } catch {
      return "unknown"; // CONFIG is not allowed to this user: managed services forbid it.
    }
  }

  async #lookNow(): Promise<void> {
    const [, memory, identity] = await Promise.all([
      this.#readClock(),
      this.#redis.info("memory"),
      this.#redis.get(this.#keys.identity),
    ]);
    const used = Number(infoField(memory, "used_memory"));
    const most = Number(infoField(memory, "maxmemory"));
    this.#look = {
      atMs: performance.now(),
      identity,
      memoryRatio: most > 0 ? used / most : 0,
      maxMemoryBytes: most,
      policy: infoField(memory, "maxmemory_policy"),
    };
    if (identity !== this.identity) this.#isForeign = true;
  }

  async #readClock(): Promise<void> {
    const askedMs = performance.now();
    const [seconds, micros] = await this.#redis.time();
    const redisMs = Number(seconds) * 1000 + Number(micros) / 1000;
    const told = { askedMs, redisMs, heardMs: performance.now() };
    this.#clockOffsetMs = clockOffsetMs(this.#clockOffsetMs, told);
  }

  nowMs(): number {
    const offsetMs = this.#clockOffsetMs;
    return offsetMs === undefined ? Date.now() : performance.now() + offsetMs;
  }

  /** Redis's maxmemory; 0 when that is unlimited, or not known yet. */
  get maxMemoryBytes(): number {
    return this.#look?.maxMemoryBytes ?? 0;
  }

  refusal(): "unreachable" | "full" | "identity" | undefined {
    if (this.#isForeign) return "identity";
    const look = this.#look;
    if (look === undefined || performance.now() - look.atMs > silenceMs) return "unreachable";
    return look.memoryRatio >= this.#highWater ? "full" : undefined;
  }

  health(): StoreHealth {
    const refusal = this.refusal();
    const policy = this.#look?.policy ?? "";
    const trouble =
      refusal === "identity"
        ? "the store is not the one this process knows: restart it after a look at the Redis volume"
        : refusal === "unreachable"
          ? "Redis does not answer"
          : policy !== "" && policy !== "noeviction"
            ? `Redis has maxmemory-policy ${policy}`
            : undefined;
    return {
      isReachable: refusal !== "unreachable",
      ...(trouble === undefined ? {} : { trouble }),
      memoryRatio: this.#look?.memoryRatio ?? 0,
      durability: this.durability,
    };
  }

  stop(): void {
    clearInterval(this.#timer);
  }
}
