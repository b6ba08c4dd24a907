export { parseAddressHeader } from "./address-header.ts";
export { scanHeaders } from "./header-scan.ts";
export type { RawHeader, ScannedHeaders } from "./header-scan.ts";
export { LineEndNormaliser } from "./line-end-normaliser.ts";
export { asctime, formatMailDate } from "./mail-date.ts";
export type { TransferEncoding } from "./mime-fields.ts";
export { MimeWalker } from "./mime-walker.ts";
export type { HeaderClass, MimeEntity, MimeLimits, MimeSink, TextPlace } from "./mime-walker.ts";
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
  unquoteAddress,
} from "./smtp-path.ts";
export { verpSender } from "./verp-sender.ts";
export { decodeXtext, encodeXtext } from "./xtext.ts";
