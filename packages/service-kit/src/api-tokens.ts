/**
 * The file of HTTP tokens (`api_tokens`) and the check of a request's token against it.
 *
 * One token a line, four fields separated by white space: name, scrypt hash, scopes, allowed senders. `#` begins a
 * comment line. Scopes are separated by commas (messages:send, messages:read, queue:read, queue:write); allowed senders are separated
 * by commas too: an address, @domain, `<>` for the null sender, or * for any. A client presents `<name>.<secret>`; the
 * file holds `scrypt:<N>:<r>:<p>:<salt>:<hash>` of the secret, both in base64url, so it can be read without harm.
 *
 * An unknown name costs the same work as a wrong secret, and secrets are compared in constant time. scrypt is
 * slow on purpose, so a token that was right is remembered by a keyed hash until the file changes; checks under way
 * are few at a time, lest wrong tokens keep the machine busy. The file is looked at again at most once a second: a
 * line taken out ends that token. While it can't be read no token is right: one taken out would pass as long as that lasts.
 *
 * Source: DESIGN P11; spec http-api.md §1 "Auth", security.md 11 and 14; RFC 7914.
 */
import { createHmac, randomBytes, scrypt, timingSafeEqual } from "node:crypto";
import type { ScryptOptions } from "node:crypto";
import { readFileSync, statSync } from "node:fs";
import { PostmqError } from "@postmq/vocabulary";

/** `messages:read` is for what messages say: who may look at the queue need not read the mail in it. */
export const apiScopes = ["messages:send", "messages:read", "queue:read", "queue:write"] as const;
export type ApiScope = (typeof apiScopes)[number];

/** Who a request comes from. */
export type ApiClient = {
  readonly name: string;
  readonly scopes: readonly ApiScope[];
  /** Whether this client may send mail under an envelope sender; the empty string is the null sender. */
  maySendAs(sender: string): boolean;
};

type TokenLine = {
  readonly client: ApiClient;
  readonly salt: Buffer;
  readonly hash: Buffer;
  readonly cost: ScryptOptions & { readonly N: number; readonly r: number; readonly p: number };
};

/** `busy`: too many checks are under way. */
export type TokenVerdict = ApiClient | "unknown" | "busy";

const recheckPauseMs = 1_000;
const maxChecks = 8;
const maxRemembered = 1_000;
const defaultCost = { N: 16_384, r: 8, p: 1 };
const maxMemoryBytes = 256 * 1024 * 1024;

export class TokenFile {
  readonly #fileName: string;
  readonly #nowMs: () => number;
  readonly #memoryKey = randomBytes(32);
  /** Right tokens by keyed hash. */
  readonly #remembered = new Map<string, ApiClient>();
  #lines: ReadonlyMap<string, TokenLine> = new Map();
  #version = "";
  #checkedAtMs: number;
  /** Why the file could not be read when it was looked at last. */
  #trouble: PostmqError | undefined;
  #checks = 0;

  /** @throws PMQ_CONFIG_INVALID naming file and line. */
  constructor(fileName: string, nowMs: () => number) {
    this.#fileName = fileName;
    this.#nowMs = nowMs;
    this.#checkedAtMs = nowMs();
    this.#trouble = this.#read();
    if (this.#trouble !== undefined) throw this.#trouble;
  }

  /** Whose token it is. @throws PMQ_CONFIG_INVALID as long as the file is gone, or changed into something unreadable. */
  async check(token: string): Promise<TokenVerdict> {
    if (Math.abs(this.#nowMs() - this.#checkedAtMs) >= recheckPauseMs) {
      this.#checkedAtMs = this.#nowMs();
      this.#trouble = this.#read();
    }
    if (this.#trouble !== undefined) throw this.#trouble;
    const fingerprint = createHmac("sha256", this.#memoryKey).update(token).digest("base64");
    const remembered = this.#remembered.get(fingerprint);
    if (remembered !== undefined) return remembered;
    if (this.#checks >= maxChecks) return "busy";
    this.#checks += 1;
    try {
      const version = this.#version;
      const client = await this.#verify(token);
      if (client === undefined) return "unknown";
      if (version === this.#version && this.#remembered.size < maxRemembered) {
        this.#remembered.set(fingerprint, client);
      }
      return client;
    } finally {
      this.#checks -= 1;
    }
  }

  async #verify(token: string): Promise<ApiClient | undefined> {
    const dot = token.indexOf(".");
    const line = this.#lines.get(token.slice(0, Math.max(dot, 0)));
    const secret = token.slice(dot + 1);
    const salt = line?.salt ?? this.#memoryKey;
    const expected = line?.hash ?? this.#memoryKey;
    const hash = await deriveHash(secret, salt, expected.length, line?.cost ?? defaultCost);
    const isRight = timingSafeEqual(hash, expected);
    return isRight ? line?.client : undefined;
  }

  /** @returns why it can't be read */
  #read(): PostmqError | undefined {
    try {
      const { ino, size, mtimeNs } = statSync(this.#fileName, { bigint: true });
      const version = `${ino} ${size} ${mtimeNs}`;
      if (version === this.#version) return undefined;
      const content = readFileSync(this.#fileName, "utf8");
      this.#lines = parseTokenFile(content, this.#fileName);
      this.#version = version;
      this.#remembered.clear();
      return undefined;
    } catch (cause) {
      if (cause instanceof PostmqError) return cause;
      return new PostmqError("PMQ_CONFIG_INVALID", `api_tokens: can't read ${this.#fileName}`, {
        facts: { file: this.#fileName },
        cause,
      });
    }
  }
}

/** A new token, and its line for the file. */
export async function makeToken(client: {
  readonly name: string;
  readonly scopes: readonly ApiScope[];
  readonly senders: readonly string[];
}): Promise<{ readonly token: string; readonly line: string }> {
  const secret = randomBytes(24).toString("base64url");
  const salt = randomBytes(16);
  const hash = await deriveHash(secret, salt, 32, defaultCost);
  const { N, r, p } = defaultCost;
  const stored = `scrypt:${N}:${r}:${p}:${salt.toString("base64url")}:${hash.toString("base64url")}`;
  return {
    token: `${client.name}.${secret}`,
    line: `${client.name} ${stored} ${client.scopes.join(",")} ${client.senders.join(",") || "*"}`,
  };
}

function deriveHash(
  secret: string,
  salt: Buffer,
  length: number,
  cost: ScryptOptions,
): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    scrypt(secret, salt, length, { ...cost, maxmem: maxMemoryBytes }, (error, hash) => {
      if (error === null) resolve(hash);
      else reject(error);
    });
  });
}

/** @throws PMQ_CONFIG_INVALID naming file and line; never the hash. */
function parseTokenFile(content: string, fileName: string): ReadonlyMap<string, TokenLine> {
  const lines = new Map<string, TokenLine>();
  for (const [index, text] of content.split(/\r?\n/).entries()) {
    if (/^\s*(?:#|$)/.test(text)) continue;
    const refuse = (problem: string) =>
      new PostmqError(
        "PMQ_CONFIG_INVALID",
        `api_tokens: ${fileName}, line ${index + 1}: ${problem}`,
        {
          facts: { file: fileName, line: index + 1 },
        },
      );
    const [name = "", stored = "", scopes = "", senders = "*", ...rest] = text.trim().split(/\s+/);
    if (rest.length > 0) throw refuse("there are more than four fields");
    if (!/^[A-Za-z0-9_-]{1,64}$/.test(name))
      throw refuse("the name must be letters, digits, _ and -");
    if (lines.has(name)) throw refuse(`${name} is there twice`);
    const hashed = parseStoredHash(stored);
    if (hashed === undefined) {
      throw refuse(
        "the second field must be scrypt:<N>:<r>:<p>:<salt>:<hash>, N a power of 2 up to 131072",
      );
    }
    const wanted = scopes.split(",");
    const known = apiScopes.filter((scope) => wanted.includes(scope));
    if (known.length !== wanted.length) throw refuse(`scopes are ${apiScopes.join(", ")}`);
    lines.set(name, {
      client: { name, scopes: known, maySendAs: senderRule(senders.split(",")) },
      ...hashed,
    });
  }
  return lines;
}

function parseStoredHash(stored: string): Omit<TokenLine, "client"> | undefined {
  const match = /^scrypt:(\d{1,6}):(\d{1,2}):(\d{1,2}):([\w-]{8,}):([\w-]{22,})$/.exec(stored);
  const [N, r, p] = [Number(match?.[1]), Number(match?.[2]), Number(match?.[3])];
  if (match === null || N < 2 || N > 131_072 || (N & (N - 1)) !== 0 || r < 1 || p < 1)
    return undefined;
  return {
    salt: Buffer.from(match[4] ?? "", "base64url"),
    hash: Buffer.from(match[5] ?? "", "base64url"),
    cost: { N, r, p },
  };
}

function senderRule(allowed: readonly string[]): (sender: string) => boolean {
  const patterns = allowed.map((item) => (item === "<>" ? "" : item.toLowerCase()));
  return (sender) => {
    const folded = sender.toLowerCase();
    return patterns.some(
      (pattern) =>
        pattern === "*" ||
        pattern === folded ||
        (pattern.startsWith("@") && folded.slice(Math.max(folded.lastIndexOf("@"), 0)) === pattern),
    );
  };
}

/**
 * What a request may do where there are no tokens: the listener is loopback, so the caller is some user of this machine,
 * who may do what sendmail(1) and mailq(1) do for anybody.
 */
export const localClient: ApiClient = {
  name: "local",
  scopes: ["messages:send", "queue:read"],
  maySendAs: () => true,
};

/**
 * What postsuper(1) and postcat(1) want root for: where there are no tokens, root may, and the user that this process
 * runs as.
 *
 * @param uid of the caller, if it can be told
 */
export function localAdministrator(uid: number | undefined): ApiClient | undefined {
  if (uid === undefined || (uid !== 0 && uid !== process.getuid?.())) return undefined;
  return { name: uid === 0 ? "root" : `uid${uid}`, scopes: apiScopes, maySendAs: () => true };
}
