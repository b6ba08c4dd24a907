/**
 * The heartbeat of this run of this process: its claims are alive while the key exists.
 *
 * One per process, nothing to renew per claim. While Redis is away one beat waits on the patient connection and is
 * the first thing written when it comes back, well before the leader may reap (DESIGN §3).
 */
import type { Script } from "./script.ts";
import { loadScript, runScript } from "./script.ts";
import type { StoreParts } from "./store-parts.ts";

const heartbeat: Script = loadScript("heartbeat");
const beatsPerLife = 5;

/** @param capacity deliveries that this worker runs at once; undefined for cleanup and bounce. */
export async function startHeartbeat(parts: StoreParts, capacity?: number): Promise<void> {
  const redis = parts.connect("patient", "heartbeat");
  const beat = () =>
    runScript(
      redis,
      heartbeat,
      [parts.keys.heartbeat(parts.worker)],
      [
        parts.keys.prefix,
        parts.worker,
        parts.heartbeatMs,
        capacity === undefined ? "" : String(capacity),
      ],
    );
  let isBeating = false;
  const timer = setInterval(() => {
    if (isBeating) return;
    isBeating = true;
    beat()
      .catch((error: unknown) => parts.notice("warning", `heartbeat: ${String(error)}`))
      .finally(() => {
        isBeating = false;
      });
  }, parts.heartbeatMs / beatsPerLife);
  timer.unref();
  parts.onClose(async () => {
    clearInterval(timer);
    if (redis.status !== "ready") return;
    await redis.del(parts.keys.heartbeat(parts.worker));
    if (capacity !== undefined) await redis.hdel(parts.keys.workers, parts.worker);
  });
  await beat();
}
