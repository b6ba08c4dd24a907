/**
 * Ciphers by grade, as OpenSSL's lists. Source: postconf(5) smtp_tls_mandatory_ciphers, tls_high_cipherlist,
 * tls_medium_cipherlist; Postfix src/global/mail_params.h, src/tls/tls_client.c "security level".
 */

export const cipherGrades = ["high", "medium", "low", "export"] as const;
export type CipherGrade = (typeof cipherGrades)[number];

const neverUsed = ":!SEED:!IDEA:!3DES:!RC2:!RC4:!RC5:!kDH:!kECDH:!aDSS:!MD5";
/** low and export mean medium, as in Postfix since 3.8. */
const lists: Readonly<Record<CipherGrade, string>> = {
  high: `aNULL:-aNULL:HIGH${neverUsed}`,
  medium: `aNULL:-aNULL:HIGH:MEDIUM${neverUsed}`,
  low: `aNULL:-aNULL:HIGH:MEDIUM${neverUsed}`,
  export: `aNULL:-aNULL:HIGH:MEDIUM${neverUsed}`,
};

/** No grade and no exclusion touches them, as in Postfix. Node speaks no TLSv1.3 unless some are named. */
const tls13Suites = "TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256:TLS_AES_128_GCM_SHA256";

/**
 * @param exclude names and kinds of ciphers; one that begins with an operator makes the list malformed
 * @param mustMatch the server has to prove itself: no anonymous ciphers, and keys of 80 bits' strength at least
 * @returns undefined for a malformed exclusion
 */
export function cipherList(
  grade: CipherGrade,
  exclude: readonly string[],
  mustMatch: boolean,
): string | undefined {
  if (exclude.some((name) => !/^[A-Za-z0-9][A-Za-z0-9+_-]*$/.test(name))) return undefined;
  const also = mustMatch ? ["aNULL", "eNULL"] : ["eNULL"];
  const excluded = [...exclude, ...also].map((name) => `:!${name}`).join("");
  return `${tls13Suites}:${lists[grade]}${excluded}:@STRENGTH:@SECLEVEL=${mustMatch ? 1 : 0}`;
}
