/**
 * Sessions of this process that are idle, by destination, for the next job that goes there.
 *
 * A session is put here whole and clean, waits for at most smtp_connection_cache_time_limit, and is taken at most once
 * at a time; the newest goes first, so that what is no longer needed falls idle and is closed. A session that its server
 * ends meanwhile leaves by itself.
 *
 * An idle session counts at its destination as one in use does; when somebody else wants to connect there and may not,
 * the one that was idle longest gives way.
 *
 * Departs: Postfix shares its cache over all processes; ours is per process (spec D25).
 *
 * Source: spec D25 to D27; postconf(5) smtp_connection_cache_time_limit, smtp_connection_reuse_time_limit.
 */
import type { SmtpSession } from "./smtp-session.ts";

export type CacheSettings = {
  readonly idleMs: number;
  /** From connect on. */
  readonly reuseMs: number;
  /** 0: no limit. */
  readonly reuseCount: number;
};

/** Whether a session may carry one more message of the same job. */
export function mayReuse(
  session: Pick<SmtpSession, "servesOthers" | "connectedAtMs" | "uses">,
  settings: CacheSettings,
  nowMs: number,
): boolean {
  return (
    session.servesOthers &&
    nowMs - session.connectedAtMs < settings.reuseMs &&
    (settings.reuseCount === 0 || session.uses < settings.reuseCount)
  );
}

export class ConnectionCache {
  readonly #settings: CacheSettings;
  readonly #isAskedFor: (name: string) => Promise<boolean>;
  readonly #idle = new Map<string, { session: SmtpSession; timer: NodeJS.Timeout }[]>();
  #isClosed = false;

  /** @param isAskedFor whether somebody else waits for a connection that counts at this destination */
  constructor(settings: CacheSettings, isAskedFor: (name: string) => Promise<boolean>) {
    this.#settings = settings;
    this.#isAskedFor = isAskedFor;
  }

  /** @returns a session that was idle a moment ago; its server may have gone since: RSET first (D26). */
  take(key: string): SmtpSession | undefined {
    const entry = this.#idle.get(key)?.at(-1);
    if (entry === undefined) return undefined;
    this.#forget(key, entry.session);
    if (mayReuse(entry.session, this.#settings, performance.now())) return entry.session;
    entry.session.quit();
    return this.take(key);
  }

  /** Keeps the session for later, or ends it. */
  put(key: string, session: SmtpSession): void {
    const { idleMs } = this.#settings;
    const mayKeep = !this.#isClosed && idleMs > 0 && session.mayBeKept;
    if (!mayKeep || !mayReuse(session, this.#settings, performance.now())) {
      session.quit();
      return;
    }
    const timer = setTimeout(() => {
      this.#forget(key, session);
      session.quit();
    }, idleMs);
    session.onEnd = () => this.#forget(key, session);
    const entries = this.#idle.get(key);
    if (entries === undefined) this.#idle.set(key, [{ session, timer }]);
    else entries.push({ session, timer });
    // It rejects for a bug only, and then it must end the process.
    void this.#offer(session.countsAt);
  }

  async #offer(name: string): Promise<void> {
    if (await this.#isAskedFor(name)) this.giveWay(name);
  }

  /** Somebody wants to connect there and may not: ends the session that was idle longest, if there is one. */
  giveWay(name: string): void {
    for (const [key, entries] of this.#idle) {
      const entry = entries.find(({ session }) => session.countsAt === name);
      if (entry === undefined) continue;
      this.#forget(key, entry.session);
      entry.session.quit();
      return;
    }
  }

  /** May this session, which a job still holds, carry one more message? */
  mayContinue(session: SmtpSession): boolean {
    return mayReuse(session, this.#settings, performance.now());
  }

  get size(): number {
    let size = 0;
    for (const entries of this.#idle.values()) size += entries.length;
    return size;
  }

  /** Ends all idle sessions; sessions put from now on are ended at once. */
  [Symbol.dispose](): void {
    this.#isClosed = true;
    for (const [key, entries] of this.#idle) {
      for (const { session } of [...entries]) {
        this.#forget(key, session);
        session.quit();
      }
    }
  }

  #forget(key: string, session: SmtpSession): void {
    session.onEnd = undefined;
    const entries = this.#idle.get(key) ?? [];
    const kept = entries.filter((entry) => {
      if (entry.session === session) clearTimeout(entry.timer);
      return entry.session !== session;
    });
    if (kept.length === 0) this.#idle.delete(key);
    else this.#idle.set(key, kept);
  }
}
