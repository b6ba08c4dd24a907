/**
 * AUTH: a session that offers it, with a server for which there are credentials.
 *
 * A refused login defers the mail and is no reason to bounce it, unless smtp_sasl_auth_soft_bounce says otherwise. Words are
 * Postfix's; what the server says is cleared of the secret, should it repeat it.
 *
 * Source: spec delivery.md §2 "AUTH", §5 "SASL"; RFC 4954 §4; Postfix src/smtp/smtp_sasl_glue.c, smtp_sasl_proto.c.
 */
import { enhancedStatus } from "@postmq/vocabulary";

import { lostRefusal, refusedBy } from "./opening-refusal.ts";
import type { SessionRefusal } from "./opening-refusal.ts";
import { isPositive, readReply, softened } from "./reply-verdict.ts";
import type { Stage } from "./reply-verdict.ts";
import type { Login } from "./sasl-credentials.ts";
import { chooseMechanism } from "./sasl-mechanism.ts";
import type { SaslProtection } from "./sasl-mechanism.ts";

/** A command's longest line, CRLF included. Source: RFC 5321 §4.5.3.1.4. */
const longestCommand = 512;
const mostSteps = 10;

export type LoginLine = {
  /** name[address] of the server. */
  readonly host: string;
  /** The parameters of AUTH in the EHLO reply. */
  readonly offered: string;
  readonly protection: SaslProtection;
  /** undefined: the conversation broke. */
  readonly ask: (stage: Stage, line: string) => Promise<string | undefined>;
  readonly lost: () => SessionRefusal;
};

/** @returns undefined: we are in. */
export async function logIn(login: Login, line: LoginLine): Promise<SessionRefusal | undefined> {
  const mechanism = chooseMechanism(line.offered, login.rules, line.protection);
  if (mechanism === undefined) {
    const reason = `SASL authentication failed: server ${line.host} offered no compatible authentication mechanisms for this type of connection security`;
    return failed(reason);
  }
  const exchange = login.credentials.start(mechanism);
  let initial = exchange.initial === undefined ? undefined : toBase64(exchange.initial);
  let command = `AUTH ${mechanism}`;
  if (initial !== undefined && command.length + initial.length + 3 <= longestCommand) {
    command += ` ${initial}`;
    initial = undefined;
  }
  for (let step = 0; step < mostSteps; step += 1) {
    const raw = await line.ask("auth", command);
    if (raw === undefined) return line.lost();
    if (!/^3\d\d/.test(raw)) return verdictOf(concealed(raw, login), login, line.host);
    const challenge = raw.slice(4).trim();
    const answer = initial ?? answerTo(challenge, exchange.answer);
    if (answer === undefined || (initial !== undefined && challenge !== "")) {
      const why = `${mechanism} has no answer to what it asks`;
      return failed(
        `SASL authentication failed; cannot authenticate to server ${line.host}: ${why}`,
      );
    }
    initial = undefined;
    command = answer;
  }
  return failed(
    `SASL authentication failed; authentication protocol loop with server ${line.host}`,
  );
}

function answerTo(
  challenge: string,
  answer: (challenge: string) => string | undefined,
): string | undefined {
  const said = answer(Buffer.from(challenge, "base64").toString("latin1"));
  return said === undefined ? undefined : toBase64(said);
}

/** The code stays, whatever the password is. */
function concealed(raw: string, { credentials }: Login): string {
  return raw.slice(0, 4) + credentials.conceal(raw.slice(4));
}

function verdictOf(raw: string, login: Login, host: string): SessionRefusal | undefined {
  const reply = readReply(raw);
  if (isPositive(reply)) return undefined;
  const isPermanent = reply.code >= 500 && !login.isSoft;
  const reason = `SASL authentication failed; server ${host} said: ${reply.text}`;
  return refusedBy(reply, { isPermanent, status: softened(reply, isPermanent), reason });
}

function failed(reason: string): SessionRefusal {
  return lostRefusal({ isPermanent: false, status: enhancedStatus("4.7.0"), reason });
}

function toBase64(text: string): string {
  return Buffer.from(text, "utf8").toString("base64");
}
