/** What stands for the null sender where a report needs an address: MAILER-DAEMON at myorigin. */
import type { ReportSettings } from "../settings.ts";

/** Source: Postfix src/global/mail_addr.c; postconf(5) empty_address_recipient. */
export function nullSenderName({ mailerDaemon, myorigin }: ReportSettings): string {
  return mailerDaemon.includes("@") ? mailerDaemon : `${mailerDaemon}@${myorigin}`;
}
