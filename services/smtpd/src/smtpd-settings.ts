/** What the SMTP server is told: the parameters it reads, in the form in which it uses them. */
import type { Parameters } from "@postmq/config";
import type { VerpRules } from "@postmq/vocabulary";

import type { ErrorLimitSettings } from "./error-limits.ts";
import type { MessageSettings } from "./incoming-message.ts";
import type { RelayPolicy } from "./relay-guard.ts";

export type SmtpdSettings = {
  readonly myhostname: string;
  /** Text of the greeting after 220. */
  readonly banner: string;
  readonly softBounce: boolean;
  readonly heloRequired: boolean;
  readonly recipientLimit: number;
  readonly recipientOvershootLimit: number;
  readonly forbidUnauthPipelining: boolean;
  /** Lines that end in LF alone, from strangers (V28). */
  readonly rejectBareNewline: boolean;
  /** Bytes of a command line that are looked at. */
  readonly lineLengthLimit: number;
  /** How long a client may be silent, or not read. */
  readonly timeoutMs: number;
  readonly errorLimits: ErrorLimitSettings;
  readonly relay: RelayPolicy;
  readonly message: MessageSettings;
  readonly verp: VerpRules;
};

export function readSmtpdSettings(parameters: Parameters): SmtpdSettings {
  return {
    myhostname: parameters.myhostname,
    banner: parameters.smtpd_banner,
    softBounce: parameters.soft_bounce,
    heloRequired: parameters.smtpd_helo_required,
    recipientLimit: parameters.smtpd_recipient_limit,
    recipientOvershootLimit: parameters.smtpd_recipient_overshoot_limit,
    forbidUnauthPipelining: parameters.smtpd_forbid_unauth_pipelining,
    // `no` would store lines that end in LF alone, which no next hop may be given (V31): it means `normalize` too.
    rejectBareNewline: parameters.smtpd_forbid_bare_newline === "reject",
    lineLengthLimit: parameters.line_length_limit,
    timeoutMs: parameters.smtpd_timeout,
    errorLimits: {
      softErrorLimit: parameters.smtpd_soft_error_limit,
      hardErrorLimit: parameters.smtpd_hard_error_limit,
      errorSleepMs: parameters.smtpd_error_sleep_time,
      junkCommandLimit: parameters.smtpd_junk_command_limit,
    },
    relay: {
      restrictions: parameters.smtpd_relay_restrictions,
      relayDomains: parameters.relay_domains,
      mydestination: parameters.mydestination,
      myorigin: parameters.myorigin,
    },
    message: {
      messageSizeLimit: parameters.message_size_limit,
      rewriting: parameters,
    },
    verp: {
      delimiters: parameters.default_verp_delimiters,
      allowed: parameters.verp_delimiter_filter,
    },
  };
}
