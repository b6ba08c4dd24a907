/**
 * Counts what a client does wrong in one session: refused commands, and commands that lead nowhere.
 *
 * A client with too many errors gets its replies late, and in the end none. A message that is queued pays for all.
 *
 * Source: spec V13, V14; postconf(5) smtpd_soft_error_limit, smtpd_hard_error_limit, smtpd_junk_command_limit.
 */
export type ErrorLimitSettings = {
  readonly softErrorLimit: number;
  readonly hardErrorLimit: number;
  readonly errorSleepMs: number;
  readonly junkCommandLimit: number;
};

export class ErrorLimits {
  readonly #settings: ErrorLimitSettings;
  #errors = 0;
  #junkCommands = 0;

  constructor(settings: ErrorLimitSettings) {
    this.#settings = settings;
  }

  countError(): void {
    this.#errors++;
  }

  countJunkCommand(): void {
    if (++this.#junkCommands > this.#settings.junkCommandLimit) this.#errors++;
  }

  messageQueued(): void {
    this.#errors = 0;
    this.#junkCommands = 0;
  }

  /** How long each reply must wait now. */
  get replyDelayMs(): number {
    return this.#errors > this.#settings.softErrorLimit ? this.#settings.errorSleepMs : 0;
  }

  /** The session must end. */
  get isExhausted(): boolean {
    return this.#errors >= this.#settings.hardErrorLimit;
  }
}
