/** Settings of reports, for tests. */
import type { ReportSettings } from "./settings.ts";
import { builtInTemplates } from "./template/built-in-templates.ts";

const hourMs = 3_600_000;

export const reportSettings: ReportSettings = {
  myhostname: "mail.example",
  myorigin: "example",
  mailName: "postmq",
  mailerDaemon: "MAILER-DAEMON",
  doubleBounceSender: "double-bounce",
  bounceSizeLimit: 50_000,
  lifetimeMs: 5 * 24 * hourMs,
  notifyClasses: new Set(["resource", "software"]),
  bounceNoticeRecipient: "bounces",
  doubleBounceNoticeRecipient: "double@pm.example",
  delayNoticeRecipient: "delays",
  hasVerpReports: true,
  refersToOriginal: false,
  templates: builtInTemplates({
    myhostname: "mail.example",
    delayWarningMs: 4 * hourMs,
    lifetimeMs: 5 * 24 * hourMs,
  }),
};
