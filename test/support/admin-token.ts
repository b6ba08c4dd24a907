/** A token that may do everything, in a file for `api_tokens`. */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { apiScopes, makeToken } from "@postmq/service-kit";

export type Admin = AsyncDisposable & {
  /** For `api_tokens`. */
  readonly file: string;
  readonly headers: Readonly<Record<string, string>>;
};

export async function makeAdmin(): Promise<Admin> {
  const directory = await mkdtemp(join(tmpdir(), "postmq-token-"));
  const { token, line } = await makeToken({ name: "admin", scopes: apiScopes, senders: [] });
  const file = join(directory, "tokens");
  await writeFile(file, `${line}\n`);
  return {
    file,
    headers: { authorization: `Bearer ${token}` },
    [Symbol.asyncDispose]: () => rm(directory, { recursive: true }),
  };
}
