/**
 * Who we are to a server: user and password from smtp_sasl_password_maps.
 *
 * Keys, in this order: the sender (only with smtp_sender_dependent_authentication; the address, the address without its
 * extension, @domain), the server's name, the next hop as it is written, brackets and port included. No entry: nobody
 * logs in, and the server is talked to as by a stranger.
 *
 * Departs: smtp_sasl_auth_cache_name is not there; a refused login is seen again at each attempt, which the
 * destination's back-off bounds.
 *
 * Source: spec delivery.md §5 "SASL"; postconf(5) smtp_sasl_password_maps; Postfix src/smtp/smtp_sasl_glue.c.
 */
import type { Parameters } from "@postmq/config";
import { openTables } from "@postmq/tables";
import type { Tables } from "@postmq/tables";
import { PostmqError } from "@postmq/vocabulary";

import { Credentials } from "./sasl-exchange.ts";
import type { SaslRules } from "./sasl-mechanism.ts";

const parameterName = "smtp_sasl_password_maps";
/** Objects kept for values that were looked up; a table has seldom more than a few. */
const mostKept = 1_000;

/** How a session logs in, should the server offer it. */
export type Login = {
  readonly credentials: Credentials;
  readonly rules: SaslRules;
  /** A login refused with 5xx defers. */
  readonly isSoft: boolean;
};

export type LoginFacts = {
  readonly sender: string;
  /** The server's name as MX or the next hop gave it. */
  readonly host: string;
  /** The item of the next hop list, as it is written. */
  readonly nexthop: string;
};

export class Logins {
  /** Sessions of one sender are not for another one. */
  readonly dependsOnSender: boolean;
  readonly #tables: Tables;
  readonly #rules: SaslRules;
  readonly #isSoft: boolean;
  readonly #delimiters: string;
  readonly #kept = new Map<string, Login | undefined>();

  constructor(tables: Tables, parameters: Parameters) {
    this.#tables = tables;
    this.dependsOnSender = parameters.smtp_sender_dependent_authentication;
    this.#isSoft = parameters.smtp_sasl_auth_soft_bounce;
    this.#delimiters = parameters.recipient_delimiter;
    this.#rules = {
      options: {
        plain: lowerCase(parameters.smtp_sasl_security_options),
        tls: lowerCase(parameters.smtp_sasl_tls_security_options),
        verified: lowerCase(parameters.smtp_sasl_tls_verified_security_options),
      },
      filter: lowerCase(parameters.smtp_sasl_mechanism_filter),
    };
  }

  /** undefined: there are no credentials for it. Equal credentials give the same object as long as it is kept. */
  find({ sender, host, nexthop }: LoginFacts): Login | undefined {
    const senderKeys = this.dependsOnSender ? keysOf(sender, this.#delimiters) : [];
    for (const key of [...senderKeys, host, nexthop]) {
      const value = this.#tables.lookup(key);
      if (value !== undefined) return this.#loginOf(value);
    }
    return undefined;
  }

  #loginOf(value: string): Login | undefined {
    if (this.#kept.has(value)) return this.#kept.get(value);
    if (this.#kept.size >= mostKept) this.#kept.clear();
    const login = this.#parse(value);
    this.#kept.set(value, login);
    return login;
  }

  /** The password may hold colons. */
  #parse(value: string): Login | undefined {
    const colon = value.indexOf(":");
    const user = colon < 0 ? value : value.slice(0, colon);
    const password = colon < 0 ? "" : value.slice(colon + 1);
    if (user === "") return undefined;
    return {
      credentials: new Credentials(user, password),
      rules: this.#rules,
      isSoft: this.#isSoft,
    };
  }
}

/**
 * undefined: smtp_sasl_auth_enable is no.
 *
 * @throws PMQ_TABLE_UNREADABLE; what is written in an inline or static table is not in the message.
 */
export async function openLogins(
  parameters: Parameters,
  onWarning: (text: string) => void,
): Promise<Logins | undefined> {
  if (!parameters.smtp_sasl_auth_enable) return undefined;
  const specs = parameters.smtp_sasl_password_maps;
  if (specs.length === 0) {
    throw unreadable("a table is needed, since smtp_sasl_auth_enable is yes");
  }
  const hidesName = specs.some((spec) => /^(?:inline|static):/.test(spec));
  try {
    return new Logins(await openTables(specs, { parameterName, onWarning }), parameters);
  } catch (error) {
    if (!hidesName) throw error;
    throw unreadable("one of its tables can't be read");
  }
}

function unreadable(problem: string): PostmqError {
  return new PostmqError("PMQ_TABLE_UNREADABLE", `parameter ${parameterName}: ${problem}`, {
    facts: { parameter: parameterName },
  });
}

/** Source: Postfix src/global/mail_addr_find.c. */
function keysOf(sender: string, delimiters: string): readonly string[] {
  const at = sender.lastIndexOf("@");
  if (at <= 0) return sender === "" ? [] : [sender];
  const local = sender.slice(0, at);
  const domain = sender.slice(at);
  const end = local.split("").findIndex((character) => delimiters.includes(character));
  return end <= 0 ? [sender, domain] : [sender, local.slice(0, end) + domain, domain];
}

function lowerCase(items: readonly string[]): readonly string[] {
  return items.map((item) => item.toLowerCase());
}
