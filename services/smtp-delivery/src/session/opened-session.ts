/**
 * The opening of a session: greeting, EHLO, STARTTLS with a second EHLO, AUTH, each as the wishes of the destination have it.
 *
 * Whatever fails here fails before any mail is named: the whole session is refused, and the refusal says what may be tried next.
 *
 * Source: spec D3, D15, D20, D22, D23, delivery.md §2, §5; security.md 13; RFC 3207; Postfix src/smtp/smtp_proto.c smtp_helo.
 */
import type { Socket } from "node:net";

import type { SmtpReply } from "@postmq/mail-format";
import type { ConnectionToken } from "@postmq/queue-store";

import { Conversation } from "./conversation.ts";
import type { ConversationWishes } from "./conversation.ts";
import { readEhloReply } from "./ehlo-reply.ts";
import type { Offers } from "./mail-commands.ts";
import { loopRefusal, lostRefusal, refusedBy, temporary, tlsFailure } from "./opening-refusal.ts";
import type { SessionRefusal } from "./opening-refusal.ts";
import {
  brokenReason,
  endsReuse,
  isPositive,
  lostStatus,
  readReply,
  softened,
  turnedAway,
} from "./reply-verdict.ts";
import type { Login } from "./sasl-credentials.ts";
import { logIn } from "./sasl-login.ts";
import { shownHost } from "./server-name.ts";
import type { ServerName } from "./server-name.ts";
import type { SessionSettings } from "./session-settings.ts";

/** What is wanted of a session with this server, besides what holds for all. */
export type SessionWishes = ConversationWishes & {
  /** The item of the next hop list that the server belongs to, as it is written. */
  readonly nexthop?: string;
  /** Used if the server offers AUTH. */
  readonly login?: Login;
  /** Without TLS since TLS failed (D23): for the mail that has waited for it, and for no other. */
  readonly isMakeshift?: boolean;
  /** Where a loop is looked for (D3): with MX hosts on port 25. */
  readonly self?: {
    /** Names of this mail system, in lower case. */
    readonly ownNames: ReadonlySet<string>;
    readonly nexthop: string;
    /** No server is preferred to this one. */
    readonly isBestMx: boolean;
  };
};

export class OpenedSession extends Conversation {
  offers: Offers = new Map();
  /** What an operator may want to read about the server, as far as the session came. */
  readonly notices: string[] = [];
  /** It said what nobody says in SMTP: it is not used again, and the postmaster may want to know (D9). */
  hasProtocolError = false;
  /** Of those who logged in; undefined: nobody did. */
  credentialsKey: string | undefined;
  protected readonly wishes: SessionWishes;

  constructor(
    socket: Socket,
    server: ServerName,
    settings: SessionSettings,
    token: ConnectionToken,
    wishes: SessionWishes = {},
  ) {
    super(socket, server, settings, token, wishes);
    this.wishes = wishes;
  }

  /** What it was opened for: it serves other mail that would have it opened alike (D27). */
  get openedFor() {
    const { nexthop = "", tls, login } = this.wishes;
    return { nexthop, policyKey: tls?.key, loginKey: login?.credentials.key };
  }

  /** Greeting, EHLO, TLS and login. @returns undefined when the session stands. */
  async begin(): Promise<SessionRefusal | undefined> {
    if (!(await this.meet())) return this.#openingFailed();
    // nodemailer has the EHLO reply without its first line, which names the server.
    const raw = this._ehloLines === undefined ? undefined : this.lastServerResponse;
    const refusal = this.#hear(typeof raw === "string" ? raw : undefined) ?? (await this.#secure());
    return refusal ?? (await this.#logIn());
  }

  protected override onGreeting(greeting: string): void {
    const name = greeting.slice(4).split(/\s/)[0] ?? "";
    if (this.wishes.self?.ownNames.has(name.toLowerCase()) !== true) return;
    this.notices.push(`host ${shownHost(this.server)} greeted me with my own hostname ${name}`);
  }

  /** @param raw the reply to EHLO; undefined after HELO: nothing is offered */
  #hear(raw: string | undefined): SessionRefusal | undefined {
    if (raw === undefined) {
      this.offers = new Map();
      return undefined;
    }
    const host = shownHost(this.server);
    const { name, offers, notices } = readEhloReply(
      raw,
      this.settings.discardsFor(this.server.address),
      host,
    );
    this.offers = offers;
    this.notices.push(...notices.filter((notice) => !this.notices.includes(notice)));
    const { self } = this.wishes;
    if (self?.ownNames.has(name.toLowerCase()) !== true) return undefined;
    this.notices.push(`host ${host} replied to HELO/EHLO with my own hostname ${name}`);
    return loopRefusal(self.nexthop, self.isBestMx);
  }

  /** D22: at a required level there is no going on without TLS. */
  async #secure(): Promise<SessionRefusal | undefined> {
    const policy = this.tlsPolicy;
    if (policy === undefined && this.settings.notesTlsOffers && this.offers.has("STARTTLS"))
      this.notices.push(`Host offered STARTTLS: [${this.server.host}]`);
    if (policy === undefined || this.tls !== undefined) return undefined;
    const isRequired = policy.level !== "may";
    const host = shownHost(this.server);
    if (!this.offers.has("STARTTLS")) {
      const reason = `TLS is required, but was not offered by host ${host}`;
      return isRequired ? temporary("4.7.4", reason) : undefined;
    }
    const raw = await this.ask("starttls", "STARTTLS");
    if (raw === undefined) return this.#openingFailed();
    const reply = readReply(raw);
    if (!isPositive(reply)) {
      if (reply.code === 421) return refusedBy(reply, turnedAway(reply, host, false));
      const reason = `TLS is required, but host ${host} refused to start TLS: ${reply.text}`;
      const refusal = { isPermanent: false, status: softened(reply, false), reason };
      return isRequired ? refusedBy(reply, refusal) : undefined;
    }
    return (await this.startTls()) ? await this.#meetAgain() : this.#openingFailed();
  }

  /** What was offered in plain text does not count any more (RFC 3207 §4.2). */
  async #meetAgain(): Promise<SessionRefusal | undefined> {
    this.offers = new Map();
    const isLmtp = this.protocol === "lmtp";
    const { heloName } = this.settings;
    const extended = isLmtp ? "LHLO" : "EHLO";
    const raw = await this.ask(isLmtp ? "lhlo" : "ehlo", `${extended} ${heloName}`);
    if (raw === undefined) return this.#openingFailed();
    const reply = readReply(raw);
    if (isPositive(reply)) return this.#hear(raw);
    if (isLmtp || reply.code === 421) return this.#turnedAway(reply);
    const second = await this.ask("ehlo", `HELO ${heloName}`);
    if (second === undefined) return this.#openingFailed();
    const last = readReply(second);
    return isPositive(last) ? undefined : this.#turnedAway(last);
  }

  async #logIn(): Promise<SessionRefusal | undefined> {
    const { login } = this.wishes;
    const offered = this.offers.get("AUTH");
    if (login === undefined || offered === undefined) return undefined;
    const refusal = await logIn(login, {
      host: shownHost(this.server),
      offered,
      protection: this.#protection,
      ask: (stage, line) => this.ask(stage, line),
      lost: () => this.#openingFailed(),
    });
    if (refusal === undefined) this.credentialsKey = login.credentials.key;
    return refusal;
  }

  get #protection() {
    if (this.tls === undefined) return "plain";
    return this.tls.trust === "Verified" ? "verified" : "tls";
  }

  #turnedAway(reply: SmtpReply): SessionRefusal {
    this.hasProtocolError ||= endsReuse(reply);
    const isGreeting = this.at === "greeting";
    const isPermanent = reply.code >= 500 && !(isGreeting && this.settings.skips5xxGreeting);
    return refusedBy(reply, turnedAway(reply, shownHost(this.server), isPermanent));
  }

  #openingFailed(): SessionRefusal {
    const isOptional = this.tlsPolicy?.level === "may";
    if (this.isShakingHands) {
      return tlsFailure("Cannot start TLS: handshake failure", isOptional);
    }
    if (this.tlsVerdict?.kind === "refused") {
      const { status, reason, detail } = this.tlsVerdict;
      const host = `${shownHost(this.server)}:${this.server.port}`;
      this.notices.push(`certificate verification failed for ${host}: ${detail}`);
      return temporary(status, reason);
    }
    // Later it is no word about the session as a whole; and at a login it may repeat the secret.
    if (this.lastWords !== undefined && ["greeting", "ehlo", "lhlo"].includes(this.at))
      return this.#turnedAway(readReply(this.lastWords));
    const reason = brokenReason(this.broken?.how ?? "lost", shownHost(this.server), this.at);
    const refusal = lostRefusal({ isPermanent: false, status: lostStatus, reason });
    // A session under TLS that breaks is as good a reason to do without it (D23).
    return { ...refusal, mayTryPlain: isOptional && this.tls !== undefined };
  }
}
