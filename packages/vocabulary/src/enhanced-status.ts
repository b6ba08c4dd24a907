/** Enhanced mail system status codes. Source: RFC 3463 §2; spec delivery.md §10. */

declare const statusBrand: unique symbol;
/** A checked code such as "4.4.1": class 2, 4 or 5, subject and detail of 1 to 3 digits. */
export type EnhancedStatus = string & { readonly [statusBrand]: true };

/** The code if the text is one, else undefined. */
export function parseEnhancedStatus(text: string): EnhancedStatus | undefined {
  return /^[245]\.\d{1,3}\.\d{1,3}$/.test(text) ? (text as EnhancedStatus) : undefined;
}

/** A code written in our own source. @throws PanicError when it is malformed. */
export function enhancedStatus(text: string): EnhancedStatus {
  const status = parseEnhancedStatus(text);
  if (status === undefined) throw new RangeError(`not an enhanced status code: ${text}`);
  return status;
}
