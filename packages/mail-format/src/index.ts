export { parseAddressHeader } from "./address-header.ts";
export { scanHeaders } from "./header-scan.ts";
export type { RawHeader, ScannedHeaders } from "./header-scan.ts";
export { LineEndNormaliser } from "./line-end-normaliser.ts";
export { asctime, formatMailDate } from "./mail-date.ts";
export { formatReceived } from "./received.ts";
export type { ReceivedTrace } from "./received.ts";
export { parseReplyText } from "./smtp-reply.ts";
export type { SmtpReply } from "./smtp-reply.ts";
export {
  addressDomain,
  isMailAddress,
  isMailDomain,
  parseAddress,
  parseSmtpPath,
  quoteAddress,
} from "./smtp-path.ts";
export { decodeXtext, encodeXtext } from "./xtext.ts";
