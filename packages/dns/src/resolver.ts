/**
 * The questions that delivery asks of DNS, and the answers told apart as mail needs them.
 *
 * Source: spec D2; RFC 5321 §5.1.
 */

/**
 * notFound: the name does not exist; noData: it exists, without such records; tryAgain: nobody answered, or the server
 * has trouble; failed: the servers say that the question is wrong; malformed: the name can't be asked for, or no record
 * of the answer can be used.
 */
export const noAnswerKinds = ["notFound", "noData", "tryAgain", "failed", "malformed"] as const;
export type NoAnswerKind = (typeof noAnswerKinds)[number];

export type DnsAnswer<T> =
  | { readonly kind: "found"; readonly records: readonly T[] }
  | {
      readonly kind: NoAnswerKind;
      /** What to say of it, where the words of DNS don't fit. */
      readonly reason?: string;
    };

export type MxRecord = {
  /** Without the last dot; empty in a null MX. */
  readonly host: string;
  readonly preference: number;
};

/** Names are asked for as they are: no search domains. None of these ever throws for what others do. */
export interface MailResolver {
  mx(domain: string): Promise<DnsAnswer<MxRecord>>;
  addresses(host: string, family: 4 | 6): Promise<DnsAnswer<string>>;
  /** One text per record, its strings joined. */
  txt(name: string): Promise<DnsAnswer<string>>;
}
