/** The services, in the order a message meets them. Source: DESIGN §2. */
export const serviceNames = [
  "pickup",
  "smtpd",
  "cleanup",
  "showq",
  "qmgr",
  "smtp-delivery",
  "bounce",
] as const;
export type ServiceName = (typeof serviceNames)[number];
