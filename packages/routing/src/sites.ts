/**
 * The sites of next hops, looked up in DNS and remembered (`destination_grouping = mx`).
 *
 * Whoever groups mail asks `siteOf`, which answers at once from memory. Before that, `prepare` looks up what is not
 * known yet; mail waits for it a moment at most. What can't be found out in that time counts by its next hop for now,
 * and is asked for again soon. A site that is known goes on being used while it is looked up afresh, so that mail for a
 * next hop waits once, not once per period.
 *
 * Promises: few lookups at once, one per next hop; memory is bounded; nothing is ever thrown.
 *
 * Source: postmq; spec S16; RFC 5321 §5.1 (without MX records the domain is its own host).
 */
import type { DnsAnswer, MxRecord } from "@postmq/dns";
import type { Destination } from "@postmq/vocabulary";
import { mxDomain, siteOfHosts } from "./site-name.ts";

type MxAnswer = DnsAnswer<MxRecord>;

export type SitesOptions = {
  readonly mx: (domain: string) => Promise<MxAnswer>;
  /** Whether mail of a transport goes by MX at all. */
  readonly goesByMx: (transport: string) => boolean;
  readonly nowMs: () => number;
  /** How long mail waits for a lookup; 2 s if absent. */
  readonly waitMs?: number;
  readonly lookupsAtOnce?: number;
  readonly mostEntries?: number;
};

type Entry = {
  /** undefined: the next hop counts by itself. */
  readonly site: string | undefined;
  /** When it is to be looked up again. */
  readonly untilMs: number;
};

type Lookup = {
  readonly nexthop: string;
  readonly domain: string;
  readonly done: PromiseWithResolvers<void>;
  isOver: boolean;
};

const defaultWaitMs = 2_000;
const defaultLookupsAtOnce = 100;
/** The resolver remembers for as long as DNS allows; this is how long nobody asks it. */
const keptMs = 300_000;
const retryMs = 30_000;
const defaultMostEntries = 50_000;

export class Sites {
  readonly #options: SitesOptions;
  readonly #entries = new Map<string, Entry>();
  readonly #underWay = new Map<string, Lookup>();
  readonly #waiting: Lookup[] = [];
  #running = 0;

  constructor(options: SitesOptions) {
    this.#options = options;
  }

  /** From memory; undefined: it counts by its next hop, or is not known yet. */
  siteOf({ transport, nexthop }: Destination): string | undefined {
    return this.#options.goesByMx(transport) ? this.#entries.get(nexthop)?.site : undefined;
  }

  /** Looks up what is not known. @returns undefined: nothing is to be waited for; else resolves within the wait. */
  prepare(destinations: Iterable<Destination>): Promise<void> | undefined {
    const nowMs = this.#options.nowMs();
    const awaited = new Set<Promise<void>>();
    for (const { transport, nexthop } of destinations) {
      if (!this.#options.goesByMx(transport)) continue;
      const known = this.#entries.get(nexthop);
      if (known !== undefined && known.untilMs > nowMs) continue;
      const lookup = this.#underWay.get(nexthop) ?? this.#begin(nexthop);
      if (known === undefined && lookup !== undefined) awaited.add(lookup.done.promise);
    }
    return awaited.size === 0 ? undefined : Promise.all(awaited).then(() => undefined);
  }

  #begin(nexthop: string): Lookup | undefined {
    const mx = mxDomain(nexthop);
    if (mx === undefined) return undefined;
    const { domain } = mx;
    const lookup: Lookup = { nexthop, domain, done: Promise.withResolvers(), isOver: false };
    this.#underWay.set(nexthop, lookup);
    const late = () => this.#end(lookup, { kind: "tryAgain" });
    setTimeout(late, this.#options.waitMs ?? defaultWaitMs).unref();
    this.#waiting.push(lookup);
    this.#runNext();
    return lookup;
  }

  #runNext(): void {
    while (this.#running < (this.#options.lookupsAtOnce ?? defaultLookupsAtOnce)) {
      const lookup = this.#waiting.shift();
      if (lookup === undefined) return;
      if (lookup.isOver) continue;
      this.#running += 1;
      // Owned here: it handles each failure, and never rejects.
      void this.#run(lookup);
    }
  }

  async #run(lookup: Lookup): Promise<void> {
    let answer: MxAnswer;
    try {
      answer = await this.#options.mx(lookup.domain);
    } catch {
      // Whatever it is, it says nothing about the site; delivery asks again and tells.
      answer = { kind: "tryAgain" };
    }
    this.#running -= 1;
    this.#end(lookup, answer);
    this.#runNext();
  }

  /** The first end counts; an answer that came too late for whoever waited is remembered all the same. */
  #end(lookup: Lookup, answer: MxAnswer): void {
    const { nexthop } = lookup;
    if (lookup.isOver && answer.kind === "tryAgain") return;
    const isPassing = answer.kind === "tryAgain";
    const site = isPassing
      ? this.#entries.get(nexthop)?.site
      : siteOfHosts(nexthop, hostsOf(lookup.domain, answer));
    this.#remember(nexthop, {
      site,
      untilMs: this.#options.nowMs() + (isPassing ? retryMs : keptMs),
    });
    lookup.isOver = true;
    if (this.#underWay.get(nexthop) === lookup) this.#underWay.delete(nexthop);
    lookup.done.resolve();
  }

  #remember(nexthop: string, entry: Entry): void {
    this.#entries.delete(nexthop);
    this.#entries.set(nexthop, entry);
    if (this.#entries.size <= (this.#options.mostEntries ?? defaultMostEntries)) return;
    for (const oldest of this.#entries.keys()) {
      this.#entries.delete(oldest);
      return;
    }
  }
}

function hostsOf(domain: string, answer: MxAnswer): readonly string[] {
  if (answer.kind === "found") return answer.records.map(({ host }) => host);
  return answer.kind === "noData" ? [domain] : [];
}
