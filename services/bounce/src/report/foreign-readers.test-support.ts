/**
 * Reports as programs of others read them: postal-mime, and Python's email.
 *
 * Neither is asked for more than it knows: both find the parts and the fields; what the fields ought to say is the
 * tests' business.
 */
import assert from "node:assert/strict";

import { run } from "@postmq/testing";
import PostalMime from "postal-mime";

/** Names in lower case; the values of a field that stands more than once are joined by a line feed. */
export type Fields = Readonly<Record<string, string>>;

export type ForeignReport = {
  readonly headers: Fields;
  readonly text: string;
  readonly statusType: string;
  readonly perMessage: Fields;
  readonly perRecipient: readonly Fields[];
  readonly returnedType: string;
  /** The third part's bytes, the line end before the boundary left out. */
  readonly returned: Buffer;
};

export async function readWithPostalMime(content: Buffer): Promise<ForeignReport> {
  const email = await PostalMime.parse(content, { forceRfc822Attachments: true });
  const [status, returned, ...more] = email.attachments;
  assert(status !== undefined && returned !== undefined);
  assert.equal(more.length, 0, "three parts, the first of them text");
  const blocks = bytesOf(status.content)
    .toString("utf8")
    .split(/\r?\n\r?\n/)
    .filter((block) => block.trim() !== "");
  const [perMessage = {}, ...perRecipient] = await Promise.all(
    blocks.map(async (block) => fieldsOf((await PostalMime.parse(block)).headers)),
  );
  return {
    headers: fieldsOf(email.headers),
    text: email.text ?? "",
    statusType: status.mimeType,
    perMessage,
    perRecipient,
    returnedType: returned.mimeType,
    returned: bytesOf(returned.content),
  };
}

function bytesOf(content: ArrayBuffer | Uint8Array | string): Buffer {
  return typeof content === "string" ? Buffer.from(content) : Buffer.from(new Uint8Array(content));
}

function fieldsOf(headers: readonly { readonly key: string; readonly value: string }[]): Fields {
  const fields: Record<string, string> = {};
  for (const { key, value } of headers) {
    fields[key] = key in fields ? `${fields[key]}\n${value}` : value;
  }
  return fields;
}

/** Python knows message/delivery-status as blocks of fields, but not the global form, which has the same ones. */
const program = `
import base64, email, email.policy, json, sys
policy = email.policy.SMTP.clone(utf8=True, max_line_length=0)
message = email.message_from_bytes(sys.stdin.buffer.read(), policy=policy)

def fields(block):
    found = {}
    for name, value in block.raw_items():
        value = value.encode("utf8", "surrogateescape").decode("utf8")
        value = "".join(line for line in value.splitlines())
        name = name.lower()
        found[name] = found[name] + "\\n" + value if name in found else value
    return found

def blocks(part):
    if part.get_content_type() == "message/delivery-status":
        return [fields(block) for block in part.get_payload()]
    raw = part.get_payload(0).as_bytes()
    inner = email.message_from_bytes(b"Content-Type: message/delivery-status\\r\\n\\r\\n" + raw, policy=policy)
    return [fields(block) for block in inner.get_payload()]

def returned(part):
    if part.get_content_type() in ("message/rfc822", "message/global", "message/global-headers"):
        return part.get_payload(0).as_bytes()
    return part.get_payload(decode=True)

defects = [str(d) for p in message.walk() for d in p.defects]
text, status, original = message.get_payload()
told = [b for b in blocks(status) if b]
json.dump({
    "defects": defects,
    "headers": fields(message),
    "contentType": message.get_content_type(),
    "reportType": message.get_param("report-type"),
    "text": text.get_payload(decode=True).decode(text.get_content_charset()),
    "statusType": status.get_content_type(),
    "perMessage": told[0],
    "perRecipient": told[1:],
    "returnedType": original.get_content_type(),
    "returned": base64.b64encode(returned(original)).decode("ascii"),
}, sys.stdout)
`;

export async function readWithPython(content: Buffer): Promise<ForeignReport> {
  const env = { PYTHONIOENCODING: "utf-8", PYTHONUTF8: "1" };
  const { code, stdout, stderr } = await run("python3", ["-c", program], { input: content, env });
  assert.equal(code, 0, stderr);
  const read: unknown = JSON.parse(stdout);
  assert(isPythonReport(read));
  assert.deepEqual(read.defects, []);
  assert.equal(read.contentType, "multipart/report");
  assert.equal(read.reportType, "delivery-status");
  return { ...read, returned: Buffer.from(read.returned, "base64") };
}

type PythonReport = Omit<ForeignReport, "returned"> & {
  readonly returned: string;
  readonly defects: readonly string[];
  readonly contentType: string;
  readonly reportType: string;
};

function isPythonReport(value: unknown): value is PythonReport {
  return (
    typeof value === "object" &&
    value !== null &&
    "perRecipient" in value &&
    "returned" in value &&
    typeof value.returned === "string"
  );
}
