/** Keys for tests, as files and as a DNS that knows them. */
import { generateKeyPairSync } from "node:crypto";
import type { KeyObject } from "node:crypto";
import { chmodSync, writeFileSync } from "node:fs";

import { dkimVerify } from "mailauth/lib/dkim/verify.js";

export type TestKey = { readonly pem: string; readonly record: string };

export function rsaKey(bits = 1024): TestKey {
  const { privateKey, publicKey } = generateKeyPairSync("rsa", { modulusLength: bits });
  const der = publicKey.export({ type: "spki", format: "der" });
  return { pem: pemOf(privateKey), record: `v=DKIM1; k=rsa; p=${der.toString("base64")}` };
}

export function ed25519Key(): TestKey {
  const { privateKey, publicKey } = generateKeyPairSync("ed25519");
  const raw = publicKey.export({ type: "spki", format: "der" }).subarray(-32);
  return { pem: pemOf(privateKey), record: `v=DKIM1; k=ed25519; p=${raw.toString("base64")}` };
}

function pemOf(key: KeyObject): string {
  return key.export({ type: "pkcs8", format: "pem" });
}

export function writeKey(path: string, { pem }: Pick<TestKey, "pem">): string {
  writeFileSync(path, pem);
  chmodSync(path, 0o600);
  return path;
}

/**
 * `domain result` of each signature, in order.
 *
 * @param records TXT records by name, e.g. s1._domainkey.example.com
 */
export async function verified(
  message: Buffer,
  records: Readonly<Record<string, string>>,
): Promise<readonly string[]> {
  const resolver = async (name: string) => {
    const record = records[name];
    if (record === undefined) throw Object.assign(new Error("none"), { code: "ENOTFOUND" });
    return [[record]];
  };
  const { results } = await dkimVerify(message, { resolver, strict: true });
  return results
    .filter(({ signingDomain }) => signingDomain !== undefined)
    .map(({ signingDomain, selector, status }) => `${selector}@${signingDomain} ${status?.result}`);
}
