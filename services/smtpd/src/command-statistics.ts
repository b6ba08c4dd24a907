/**
 * How often each command came in a session and how often it was accepted, for the line at its end:
 * `ehlo=1 mail=1 rcpt=0/1 quit=1 commands=3/4`.
 *
 * Source: spec V12; Postfix src/smtpd/smtpd.c.
 */

/** In the order in which the line names them, those that are always refused among them; every other verb is `UNKNOWN`. */
const countedCommands = [
  "HELO",
  "EHLO",
  "XCLIENT",
  "XFORWARD",
  "STARTTLS",
  "AUTH",
  "MAIL",
  "RCPT",
  "DATA",
  "BDAT",
  "RSET",
  "NOOP",
  "VRFY",
  "ETRN",
  "QUIT",
  "UNKNOWN",
] as const;
export type CountedCommand = (typeof countedCommands)[number];
/** Known, and not offered. */
export type RefusedCommand = "XCLIENT" | "XFORWARD" | "STARTTLS" | "AUTH" | "BDAT" | "ETRN";

type Count = { accepted: number; all: number };

export class CommandStatistics {
  readonly #counts = new Map<CountedCommand, Count>();

  count(command: CountedCommand): void {
    this.#of(command).all++;
  }

  countAccepted(command: CountedCommand): void {
    this.#of(command).accepted++;
  }

  /** By the names that the log uses. */
  byName(): ReadonlyMap<string, Readonly<Count>> {
    const named = new Map<string, Count>();
    for (const command of countedCommands) {
      const count = this.#counts.get(command);
      if (count !== undefined) named.set(command.toLowerCase(), count);
    }
    return named;
  }

  #of(command: CountedCommand): Count {
    const known = this.#counts.get(command);
    if (known !== undefined) return known;
    const fresh = { accepted: 0, all: 0 };
    this.#counts.set(command, fresh);
    return fresh;
  }
}
