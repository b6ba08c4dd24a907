/** Settings of reports, for tests. */
export const reportSettings = {
  myhostname: "mail.example",
  myorigin: "mail.example",
  mailName: "postmq",
  mailerDaemon: "MAILER-DAEMON",
  doubleBounceSender: "double-bounce",
  bounceSizeLimit: 50_000,
  delayWarningMs: 3_600_000,
  lifetimeMs: 432_000_000,
};
