/** What a test may decide at each stage of a session with a fake server, and what it is told there. */
import type { TlsFacts } from "./server-handshake.ts";

/**
 * In the order of a session. `starttls`: what the command is answered with; `tls`: the handshake is about to begin, for
 * implicit TLS too; `body`: the first bytes after 354; `dot`: the whole content is in (LMTP: asked per recipient).
 */
export const smtpStages = [
  "greeting",
  "ehlo",
  "starttls",
  "tls",
  "auth",
  "mail",
  "rcpt",
  "data",
  "body",
  "dot",
  "rset",
  "quit",
] as const;
export type SmtpStage = (typeof smtpStages)[number];

/** What the server does instead of accepting at once. */
export type Behaviour = {
  /** Waits before it answers. */
  readonly delayMs?: number;
  /** Answers this instead, e.g. "451 4.3.0 later" or several lines joined by CRLF. At `tls`: in place of a handshake. */
  readonly reply?: string;
  /** Destroys the connection instead of answering, or right after it. */
  readonly cut?: "before" | "after";
  /** Never answers, and reads no more. */
  readonly hangs?: boolean;
  /** Answers one byte every so many ms. At `tls`: its part of the handshake, and all that follows. */
  readonly dripMs?: number;
};

/** What a client said to prove who it is. */
export type Credentials = {
  /** PLAIN, LOGIN, CRAM-MD5 or XOAUTH2. */
  readonly mechanism: string;
  /** PLAIN and LOGIN: as given; CRAM-MD5: the name only; else empty. */
  readonly user: string;
  readonly password: string;
  /** The client's answers, base64 undone. */
  readonly answers: readonly string[];
};

export type StageEvent = {
  readonly stage: SmtpStage;
  /** 1, 2, … in order of arrival. */
  readonly connection: number;
  /** Transactions that this connection finished before. */
  readonly transaction: number;
  /** The command's line, or "" for greeting, tls, body and dot. */
  readonly line: string;
  readonly sender: string;
  /** Accepted so far; at `rcpt` without the one that is asked about. */
  readonly recipients: readonly string[];
  /** The recipient in question at `rcpt`, and at `dot` of LMTP. */
  readonly recipient: string;
  /** The content at `dot`, else empty. */
  readonly content: Buffer;
  /** Only at `auth`. */
  readonly credentials: Credentials | undefined;
  /** Of the TLS session that this was said in; undefined in plaintext. */
  readonly tls: TlsFacts | undefined;
};

export type Decide = (event: StageEvent) => Behaviour | undefined | Promise<Behaviour | undefined>;
