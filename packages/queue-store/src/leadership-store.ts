/** The leader's lease and fence. Source: DESIGN §4 "Leadership"; P6; fault 6. */
import type { Fence, Leadership } from "./contract.ts";
import { storeError, whenOpen } from "./redis-connection.ts";
import { asText } from "./script-reply.ts";
import { loadScript, runScript } from "./script.ts";
import type { StoreParts } from "./store-parts.ts";

const lead = loadScript("lead");

export class LeadershipStore implements Leadership {
  readonly #ask: (verb: "acquire" | "renew" | "release", fence: Fence) => Promise<string>;

  constructor(parts: StoreParts) {
    // Hasty: a lease that could only be renewed late is lost, and the leader must know at once.
    const redis = parts.connect("hasty", "leadership");
    this.#ask = async (verb, fence) => {
      try {
        if (verb === "acquire") await whenOpen(redis);
        return asText(
          await runScript(
            redis,
            lead,
            [parts.keys.leader],
            [parts.keys.prefix, verb, fence, parts.leaseMs],
          ),
        );
      } catch (error) {
        throw storeError(error);
      }
    };
  }

  async acquire(): Promise<Fence | undefined> {
    const fence = await this.#ask("acquire", "");
    return fence === "" ? undefined : fence;
  }

  async renew(fence: Fence): Promise<boolean> {
    return (await this.#ask("renew", fence)) === "1";
  }

  async release(fence: Fence): Promise<void> {
    await this.#ask("release", fence);
  }
}
