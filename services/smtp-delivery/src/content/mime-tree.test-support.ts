/**
 * Random MIME trees, and what a reader who is not us finds in a message (Python's email package).
 */
import { spawnSync } from "node:child_process";

import type { seededRandom } from "@postmq/testing";

type Random = ReturnType<typeof seededRandom>;

/** An entity as text in Latin-1: one character per byte. */
export type Tree = { readonly headers: readonly string[]; readonly body: string };

type Words = readonly [string, ...string[]];

const words: Words = [
  "plain",
  "caf\u00e9",
  "\u00c3\u00a4\u00c3\u00b6",
  "=",
  "=C3",
  "a.b",
  "\t",
  ".",
  "--",
  "x",
  "\u00ff\u0080",
];
const sevenBitWords: Words = ["plain", "=", "=C3", "a.b", "\t", ".", "--", "x"];

function line(random: Random, from: Words, longest: number): string {
  const text = Array.from({ length: random.between(0, longest) }, () => random.pick(from)).join(
    " ",
  );
  // A line that looks like a boundary, or like the `From ` line of a mailbox, is another matter.
  return text.startsWith("--") ? ` ${text}` : text;
}

function textBody(random: Random, from: Words): string {
  const lines = Array.from({ length: random.between(0, 6) }, () =>
    line(random, from, random.pick([3, 20, 60])),
  );
  return lines.map((text) => `${text}\r\n`).join("");
}

function leaf(random: Random): Tree {
  const encoding = random.pick([
    "none",
    "7bit",
    "8bit",
    "8bit",
    "BINARY",
    "base64",
    "quoted-printable",
  ]);
  const type = random.pick([
    "text/plain; charset=iso-8859-1",
    "text/html; charset=utf-8",
    "application/x",
  ]);
  const isEightBit = /8bit|BINARY|none/.test(encoding);
  const bodies: Readonly<Record<string, () => string>> = {
    base64: () =>
      `${Buffer.from(textBody(random, words), "latin1").toString("base64").replaceAll(/.{76}/g, "$&\r\n")}\r\n`,
    "quoted-printable": () => "caf=E9 =\r\n=3D\r\n",
  };
  const body = bodies[encoding]?.() ?? textBody(random, isEightBit ? words : sevenBitWords);
  const label = encoding === "none" ? [] : [`Content-Transfer-Encoding: ${encoding}`];
  const typed = random.next() < 0.8 ? [`Content-Type: ${type}`] : [];
  return { headers: random.next() < 0.5 ? [...typed, ...label] : [...label, ...typed], body };
}

let boundaries = 0;

export function randomTree(random: Random, depth: number): Tree {
  const kind = depth === 0 ? "leaf" : random.pick(["leaf", "multipart", "multipart", "message"]);
  const label = random.pick([
    [],
    ["Content-Transfer-Encoding: 8bit"],
    ["Content-Transfer-Encoding: 7bit"],
  ]);
  if (kind === "leaf") return leaf(random);
  if (kind === "message") {
    const inner = randomTree(random, depth - 1);
    const headers = ["Content-Type: message/rfc822", ...label];
    return {
      headers,
      body: entityText({ ...inner, headers: ["Subject: inner", ...inner.headers] }),
    };
  }
  boundaries += 1;
  const boundary = `b.${boundaries}.end`;
  const parts = Array.from({ length: random.between(1, 3) }, () => randomTree(random, depth - 1));
  const body =
    (random.next() < 0.3 ? "prologue\r\n" : "") +
    parts.map((part) => `--${boundary}\r\n${entityText(part)}\r\n`).join("") +
    `--${boundary}--\r\n${random.next() < 0.3 ? "epilogue\r\n" : ""}`;
  const shown = random.pick([`"${boundary}"`, boundary]);
  return { headers: [...label, `Content-Type: multipart/mixed;\r\n boundary=${shown}`], body };
}

export function entityText({ headers, body }: Tree): string {
  return `${headers.map((header) => `${header}\r\n`).join("")}\r\n${body}`;
}

export function messageText(tree: Tree): Buffer {
  const headers = ["From: a@example.com", "MIME-Version: 1.0", ...tree.headers];
  return Buffer.from(entityText({ ...tree, headers }), "latin1");
}

const reader = `
import sys, json, base64, email
def tree(part):
    if part.is_multipart():
        return [part.get_content_type(), [tree(one) for one in part.get_payload()]]
    data = part.get_payload(decode=True) or b""
    return [part.get_content_type(), base64.b64encode(data).decode()]
messages = json.load(sys.stdin)
json.dump([tree(email.message_from_bytes(base64.b64decode(m))) for m in messages], sys.stdout)
`;

/** Types and decoded bodies of all parts, as Python finds them; one value for each message. */
export function readTrees(messages: readonly Buffer[]): readonly unknown[] {
  const input = JSON.stringify(messages.map((message) => message.toString("base64")));
  const { status, stdout, stderr } = spawnSync("python3", ["-c", reader], {
    input,
    maxBuffer: 1 << 28,
    encoding: "utf8",
  });
  if (status !== 0) throw new Error(`python3: ${stderr}`);
  const trees: unknown = JSON.parse(stdout);
  return Array.isArray(trees) ? trees : [];
}
