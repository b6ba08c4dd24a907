/**
 * How long Redis is held by others: what its SLOWLOG says of commands and scripts, and how late a PING on a connection
 * of its own is answered.
 *
 * A late PING may be the machine's fault; what stands in the SLOWLOG may be too, but says what was at work.
 */
import { connect } from "node:net";
import type { Socket } from "node:net";
import { once } from "node:events";

import type { RedisServer } from "@postmq/testing";

const everyMs = 1;

export class RedisWatch implements AsyncDisposable {
  readonly #redis: RedisServer;
  readonly #socket: Socket;
  readonly #running: Promise<void>;
  readonly #end = new AbortController();
  #cpuSeconds = 0;
  #rewrites = 0;
  #delaysMs: number[] = [];

  constructor(redis: RedisServer, socket: Socket) {
    this.#redis = redis;
    this.#socket = socket;
    this.#running = this.#probe();
  }

  static async open(redis: RedisServer): Promise<RedisWatch> {
    const socket = connect({ port: redis.port, host: "127.0.0.1", noDelay: true });
    await once(socket, "connect");
    return new RedisWatch(redis, socket);
  }

  async begin(): Promise<void> {
    await this.#redis.cli("SLOWLOG", "RESET");
    this.#delaysMs = [];
    this.#cpuSeconds = await this.#readCpu();
    const { begun, underWay } = await this.#readRewrites();
    this.#rewrites = begun - underWay;
  }

  /** Of the append-only file; one forks Redis and takes a core for itself. */
  async #readRewrites(): Promise<{ readonly begun: number; readonly underWay: number }> {
    const info = await this.#redis.cli("INFO", "persistence");
    const field = (name: string) => Number(new RegExp(`${name}:(\\d+)`).exec(info)?.[1]);
    return { begun: field("aof_rewrites"), underWay: field("aof_rewrite_in_progress") };
  }

  /** Of its main thread since `begin`: on a machine that is busy otherwise it tells more than the clock. */
  async cpuSeconds(): Promise<number> {
    return (await this.#readCpu()) - this.#cpuSeconds;
  }

  async #readCpu(): Promise<number> {
    const info = await this.#redis.cli("INFO", "cpu");
    const field = (name: string) => Number(new RegExp(`${name}:([\\d.]+)`).exec(info)?.[1]);
    return field("used_cpu_user_main_thread") + field("used_cpu_sys_main_thread");
  }

  /**
   * Commands since `begin` that took slowlog-log-slower-than or longer, in ms; of connections whose name ends so.
   */
  async slowestMs(ofConnection = ""): Promise<readonly number[]> {
    const text = await this.#redis.cli("EVAL", slowestScript, "0", ofConnection);
    return text.split("\n").flatMap((line) => (line === "" ? [] : [Number(line) / 1000]));
  }

  /** One line for a table. */
  async end(): Promise<string> {
    const delays = this.#delaysMs.toSorted((a, b) => a - b);
    const slowest = await this.slowestMs();
    const [slow, count] = [Math.max(0, ...slowest), slowest.length];
    const rewrites = (await this.#readRewrites()).begun - this.#rewrites;
    const rewritten = rewrites === 0 ? "" : `; ${rewrites} rewrites of its file`;
    const p99 = delays[Math.floor(delays.length * 0.99)] ?? 0;
    const log = count === 0 ? "none slow" : `${count} slow, longest ${slow.toFixed(1)} ms`;
    return `${log}; ping p99 ${p99.toFixed(1)}, worst ${(delays.at(-1) ?? 0).toFixed(1)} ms${rewritten}`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#end.abort();
    await this.#running;
    this.#socket.destroy();
  }

  async #probe(): Promise<void> {
    const { signal } = this.#end;
    while (!signal.aborted) {
      const sentMs = performance.now();
      this.#socket.write("PING\r\n");
      try {
        await once(this.#socket, "data", { signal });
      } catch (error) {
        if (signal.aborted) return;
        throw error;
      }
      this.#delaysMs.push(performance.now() - sentMs);
      await new Promise((resolve) => {
        setTimeout(resolve, everyMs);
      });
    }
  }
}

const slowestScript = `
local found = {}
for _, entry in ipairs(redis.call('SLOWLOG', 'GET', '10000')) do
  if ARGV[1] == '' or string.sub(entry[6], -#ARGV[1]) == ARGV[1] then found[#found + 1] = tostring(entry[3]) end
end
return found`;
