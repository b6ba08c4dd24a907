/**
 * What operators do to the queue: flushing all of it, a site, or one message.
 *
 * A flush of all is a note to the leader, which stands until it is carried out. The other two move messages to
 * incoming at once; hold is never touched.
 *
 * Source: spec scheduling.md §11, S29, S37; postqueue(1); flush(8).
 */
import type { Redis } from "ioredis";
import { countedDomain } from "@postmq/vocabulary";
import type { QueueId } from "@postmq/vocabulary";
import type { Operating } from "./contract.ts";
import { asArray, asNumber, asText, asWord } from "./script-reply.ts";
import { loadScript } from "./script.ts";
import type { Script, ScriptArgument } from "./script.ts";
import { runInstanceScript } from "./store-script.ts";
import type { StoreParts } from "./store-parts.ts";

const scripts = {
  flushAll: loadScript("flush-all"),
  flushSite: loadScript("flush-site"),
  flushMessage: loadScript("flush-message"),
};
/** Messages looked at per script: moving them takes Redis some 10 ms, and others get their turn in between. */
const messagesPerScript = 200;

export class OperatingStore implements Operating {
  readonly #parts: StoreParts;
  readonly #redis: Redis;

  constructor(parts: StoreParts) {
    this.#parts = parts;
    this.#redis = parts.connect("patient", "operating");
  }

  #run(script: Script, keys: readonly string[], args: readonly ScriptArgument[]): Promise<unknown> {
    return runInstanceScript(this.#redis, this.#parts.keys.prefix, { script, keys, args });
  }

  async flushAll(): Promise<void> {
    await this.#run(scripts.flushAll, [], []);
  }

  async flushSite(domain: string): Promise<number> {
    const { keys, bells } = this.#parts;
    const counted = countedDomain(`@${domain}`);
    if (counted === "") return 0;
    let begun = "";
    let moved = 0;
    // Messages of very many domains stand in no domain's index; their own counts tell.
    for (const [index, wanted] of [
      [keys.byDomain("deferred", counted), ""],
      [keys.large("deferred"), counted],
    ] as const) {
      let cursor = "";
      do {
        const reply = asArray(
          await this.#run(scripts.flushSite, [index], [cursor, begun, messagesPerScript, wanted]),
        );
        moved += asNumber(reply[0]);
        cursor = asText(reply[1]);
        begun = asText(reply[2]);
      } while (cursor !== "");
    }
    // One ring will do: the leader then reads all of incoming.
    if (moved > 0) bells.ringAndForget(bells.ringLook("incoming"));
    return moved;
  }

  async unthrottle(): Promise<void> {
    // A flush of a site for which there can be no mail.
    const nothing = this.#parts.keys.byDomain("deferred", "");
    await this.#run(scripts.flushSite, [nothing], ["", "", 1, ""]);
  }

  async flushMessage(id: QueueId): Promise<"moved" | "not deferred"> {
    const { keys, bells } = this.#parts;
    const answer = asWord(await this.#run(scripts.flushMessage, [keys.record(id)], [id]), [
      "moved",
      "not deferred",
    ] as const);
    if (answer === "moved") bells.ringAndForget(bells.ring("incoming", id));
    return answer;
  }
}
