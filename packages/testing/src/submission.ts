/** Handing in mail by HTTP, as an application does. Source: spec http-api.md §1. */

export type SubmissionAnswer = {
  readonly status: number;
  readonly contentType: string;
  readonly headers: Headers;
  readonly body: Readonly<Record<string, unknown>>;
};

/** A raw message of content type message/rfc822, its envelope in the query. */
export async function submitRaw(
  baseUrl: string,
  mail: { readonly from: string; readonly to: readonly string[]; readonly content: Buffer },
): Promise<SubmissionAnswer> {
  const query = new URLSearchParams([
    ["mail_from", mail.from],
    ...mail.to.map((address): [string, string] => ["rcpt_to", address]),
  ]);
  return await post(`${baseUrl}/v1/messages?${query.toString()}`, {
    contentType: "message/rfc822",
    body: mail.content,
  });
}

/** A JSON body, sent as it is: tests send wrong ones too. */
export async function submitJson(baseUrl: string, body: unknown): Promise<SubmissionAnswer> {
  return await post(`${baseUrl}/v1/messages`, {
    contentType: "application/json",
    body: typeof body === "string" ? body : JSON.stringify(body),
  });
}

async function post(
  url: string,
  what: { readonly contentType: string; readonly body: Buffer | string },
): Promise<SubmissionAnswer> {
  const response = await fetch(url, {
    method: "POST",
    headers: { "content-type": what.contentType, connection: "close" },
    body: typeof what.body === "string" ? what.body : new Uint8Array(what.body),
    signal: AbortSignal.timeout(30_000),
  });
  const text = await response.text();
  return {
    status: response.status,
    contentType: response.headers.get("content-type") ?? "",
    headers: response.headers,
    body: parseObject(text),
  };
}

function parseObject(text: string): Readonly<Record<string, unknown>> {
  const value: unknown = text === "" ? {} : JSON.parse(text);
  return typeof value === "object" && value !== null ? { ...value } : {};
}
