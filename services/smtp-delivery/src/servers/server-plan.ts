/**
 * All the servers of a request, next hop by next hop: the items of its destination in order, then smtp_fallback_relay.
 *
 * Servers are looked for when their turn comes. A next hop without servers is passed over, and what it said is kept for
 * the end; a reason to wait weighs more than one to bounce. After a next hop that we are an MX host of, or that is we,
 * there are no others: they would only carry the loop on (D3).
 *
 * Departs: a reason to wait stands even if a later next hop of the list is at its end (Postfix: the last one's word).
 *
 * Source: spec D1 to D5; Postfix src/smtp/smtp_connect.c smtp_connect_inet.
 */
import { enhancedStatus } from "@postmq/vocabulary";

import { findServers, smtpPort } from "./find-servers.ts";
import type { FindOptions, NoServer } from "./find-servers.ts";
import { parseNexthopList } from "./nexthop.ts";
import type { Nexthop } from "./nexthop.ts";
import type { ServerAddress } from "./order-addresses.ts";

export const serverProtocols = ["smtp", "lmtp"] as const;
export type ServerProtocol = (typeof serverProtocols)[number];

/** Settings that hold for all requests of a transport. */
export type PlanSettings = {
  /** Its allowsPrivate is the operator's word for all next hops. */
  readonly find: FindOptions;
  /** A list of next hops; may be empty. */
  readonly fallbackRelay: string;
};

export type PlanOptions = PlanSettings & {
  readonly protocol: ServerProtocol;
  /** Next hops that the operator chose for all mail, or for this sender's; empty ones count for nothing. */
  readonly relayhosts: readonly string[];
  /** Addresses of the request: one with an address literal must not reach our network by it. */
  readonly recipients: readonly string[];
  readonly onWarning: (text: string) => void;
};

/** A next hop that has servers. */
export type PlannedHop = {
  readonly nexthop: Nexthop;
  /** At least one, in the order in which to try them. */
  readonly servers: readonly ServerAddress[];
  /** All hosts that DNS names for it, whether or not they are among the servers. */
  readonly hosts: readonly string[];
  /** No other one will follow. */
  readonly isLast: boolean;
  /** A server that calls itself by our name is us (D3). */
  readonly detectsLoops: boolean;
  /** Of the best host: a loop there ends in a bounce. */
  readonly bestPreference: number;
  /** The parameter that led here: a hard failure at such a next hop is a mistake of ours (D5). */
  readonly chosenBy: OperatorsChoice | undefined;
};

export type OperatorsChoice = "relayhost" | "smtp_fallback_relay";

type Item = { readonly nexthop: Nexthop; readonly chosenBy: OperatorsChoice | undefined };

export class ServerPlan {
  readonly #text: string;
  readonly #items: readonly Item[];
  readonly #options: PlanOptions;
  #at = 0;
  #noServer: NoServer | undefined;

  private constructor(text: string, items: readonly Item[], options: PlanOptions) {
    this.#text = text;
    this.#items = items;
    this.#options = options;
  }

  /** @param text a destination's next hop: host, host:port, [host]:port, or a list of them */
  static of(text: string, options: PlanOptions): ServerPlan | NoServer {
    const nexthops = parseNexthopList(text, options.protocol);
    if (nexthops === undefined) {
      const reason = `malformed next hop: ${text}`;
      return { kind: "deferred", status: enhancedStatus("4.3.5"), reason };
    }
    const isRelayhost = options.relayhosts.some((relayhost) => isSameNexthop(relayhost, text));
    const fallbacks = parseNexthopList(options.fallbackRelay) ?? [];
    const items: readonly Item[] = [
      ...nexthops.map((nexthop) => ({
        nexthop,
        chosenBy: isRelayhost ? ("relayhost" as const) : undefined,
      })),
      ...fallbacks.map((nexthop) => ({ nexthop, chosenBy: "smtp_fallback_relay" as const })),
    ];
    return new ServerPlan(text, items, options);
  }

  /** The next one that has servers; undefined: there are no more. */
  async next(): Promise<PlannedHop | undefined> {
    for (let item = this.#take(); item !== undefined; item = this.#take()) {
      const { nexthop, chosenBy } = item;
      const found = await findServers(nexthop, this.#findOptions(item));
      if (found.isOurs) this.#at = this.#items.length;
      if (found.kind === "servers") {
        const { servers, hosts, bestPreference } = found;
        const isLast = this.#at === this.#items.length;
        const detectsLoops = this.#options.protocol === "smtp" && nexthop.port === smtpPort;
        return { nexthop, servers, hosts, isLast, detectsLoops, bestPreference, chosenBy };
      }
      this.#noteNoServer(found, chosenBy);
    }
    return undefined;
  }

  /** What those without servers said, for recipients that no server has spoken about. */
  get noServer(): NoServer | undefined {
    return this.#noServer;
  }

  #take(): Item | undefined {
    const item = this.#items[this.#at];
    if (item !== undefined) this.#at += 1;
    return item;
  }

  #findOptions(item: Item): FindOptions {
    const { find, protocol } = this.#options;
    const allowsPrivate = this.#allowsPrivate(item);
    return protocol === "smtp"
      ? { ...find, allowsPrivate }
      : { ...find, allowsPrivate, looksUpMx: false, isOwn: () => false };
  }

  /**
   * Whether a private address may be dialled: always if the operator says so; else only one that the operator wrote
   * in brackets, which a recipient's address literal is not (security.md 10).
   */
  #allowsPrivate({ nexthop, chosenBy }: Item): boolean {
    if (this.#options.find.allowsPrivate) return true;
    if (!nexthop.isLiteral) return false;
    if (nexthop.hasPort || chosenBy !== undefined) return true;
    const literal = `@${this.#text.toLowerCase()}`;
    return !this.#options.recipients.some((address) => address.toLowerCase().endsWith(literal));
  }

  #noteNoServer(found: NoServer, chosenBy: OperatorsChoice | undefined): void {
    if (this.#noServer?.kind === "deferred") return;
    this.#noServer = softenOwnMistake(found, chosenBy, this.#options.onWarning);
  }
}

/** D5: a mistake in our own routing bounces no mail. */
export function softenOwnMistake(
  why: NoServer,
  chosenBy: OperatorsChoice | undefined,
  onWarning: (text: string) => void,
): NoServer {
  if (chosenBy === undefined || why.kind === "deferred") return why;
  onWarning(`${chosenBy} configuration problem: ${why.reason}`);
  return { kind: "deferred", status: enhancedStatus("4.3.5"), reason: why.reason };
}

function isSameNexthop(one: string, other: string): boolean {
  return one.trim().toLowerCase() === other.trim().toLowerCase();
}
