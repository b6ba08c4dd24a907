/**
 * What a client says in SASL's mechanisms, and the credentials that it says it with.
 *
 * nodemailer's own login is not used: it keeps the password in the connection object, has no deadline per command, and
 * hands over errors with the server's text in them.
 *
 * Important: nothing but `start` and `conceal` reads the secret. It is in a private field, so that neither a log line, nor
 * JSON, nor an inspected object shows it.
 *
 * Source: RFC 4616 (PLAIN); RFC 2195 (CRAM-MD5); RFC 4954; draft-murchison-sasl-login; Google "XOAUTH2 mechanism".
 */
import { createHmac, randomBytes } from "node:crypto";

import type { SaslMechanism } from "./sasl-mechanism.ts";

/** One run of a mechanism. Texts are as they are before base64. */
export type SaslExchange = {
  /** What goes with the AUTH command; undefined: the server speaks first. */
  readonly initial: string | undefined;
  /** @returns undefined: the mechanism has nothing to say to this. */
  readonly answer: (challenge: string) => string | undefined;
};

/** Keys are of this process only, so that one that leaks tells nothing of a password. */
const keySecret = randomBytes(32);

export class Credentials {
  /** Equal for equal credentials. */
  readonly key: string;
  readonly #user: string;
  readonly #password: string;

  constructor(user: string, password: string) {
    this.#user = user;
    this.#password = password;
    this.key = createHmac("sha256", keySecret).update(`${user}\0${password}`).digest("base64url");
  }

  start(mechanism: SaslMechanism): SaslExchange {
    const user = this.#user;
    const password = this.#password;
    switch (mechanism) {
      case "PLAIN":
        return { initial: `\0${user}\0${password}`, answer: () => undefined };
      case "LOGIN":
        return { initial: undefined, answer: inTurn([user, password]) };
      case "CRAM-MD5":
        return {
          initial: undefined,
          answer: (challenge) =>
            `${user} ${createHmac("md5", password).update(challenge, "latin1").digest("hex")}`,
        };
      case "XOAUTH2":
        // What the server says instead of accepting is answered with nothing, and then it refuses.
        return {
          initial: `user=${user}\u0001auth=Bearer ${password}\u0001\u0001`,
          answer: inTurn([""]),
        };
    }
  }

  /** A server's words without the secret, should it have repeated what we said. */
  conceal(text: string): string {
    const { initial: plain = "" } = this.start("PLAIN");
    const { initial: token = "" } = this.start("XOAUTH2");
    const secrets = [plain, token, this.#password]
      .flatMap((secret) => [Buffer.from(secret).toString("base64"), secret])
      .filter((secret) => secret !== "");
    // The longest first: it may hold another one.
    secrets.sort((one, other) => other.length - one.length);
    return text.replaceAll(
      new RegExp(secrets.map((secret) => RegExp.escape(secret)).join("|"), "g"),
      "[secret]",
    );
  }
}

function inTurn(answers: readonly string[]): () => string | undefined {
  const left = [...answers];
  return () => left.shift();
}
