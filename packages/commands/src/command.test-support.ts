/** Runs a command in this process, as main.ts would, against a store of the test's own. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { runCommand } from "./run-command.ts";

export type Ran = { readonly code: number; readonly out: string; readonly err: string };

export type Runner = {
  readonly directory: string;
  /** Where sendmail drops mail. */
  readonly dropDirectory: string;
  run(args: readonly string[], options?: RunOptions): Promise<Ran>;
};

export type RunOptions = {
  readonly input?: string;
  readonly env?: Readonly<Record<string, string>>;
  readonly uid?: number;
  readonly isTerminal?: boolean;
  /** Gets the parts that are printed one after the other, which are then not kept. */
  readonly onPart?: (part: Uint8Array) => void;
};

export function commandRunner(place: {
  readonly redisUrl: string;
  readonly instanceName: string;
}): Runner & Disposable {
  const stack = new DisposableStack();
  const directory = stack.adopt(mkdtempSync(join(tmpdir(), "postmq-command-")), (path) =>
    rmSync(path, { recursive: true, force: true }),
  );
  const dropDirectory = join(directory, "maildrop");
  const base = {
    POSTMQ_REDIS_URL: place.redisUrl,
    POSTMQ_INSTANCE_NAME: place.instanceName,
    POSTMQ_DATA_DIRECTORY: directory,
    POSTMQ_DROP_DIRECTORY: dropDirectory,
    POSTMQ_MYHOSTNAME: "mail.example.com",
  };
  const run = async (args: readonly string[], options: RunOptions = {}): Promise<Ran> => {
    const printed: Uint8Array[] = [];
    const keep = (part: Uint8Array): void => void printed.push(part);
    let err = "";
    const code = await runCommand({
      args,
      env: { ...base, ...options.env },
      input: inputOf(options.input ?? ""),
      isTerminal: options.isTerminal ?? false,
      isErrorTerminal: false,
      print: (text) => void printed.push(Buffer.from(text)),
      stream: async (part) => (options.onPart ?? keep)(Buffer.from(part)),
      complain: (text) => void (err += text),
      user: { uid: options.uid ?? 1234, name: "alice" },
    });
    return { code, out: Buffer.concat(printed).toString(), err };
  };
  return { directory, dropDirectory, run, [Symbol.dispose]: () => stack.dispose() };
}

async function* inputOf(text: string): AsyncGenerator<Buffer> {
  yield Buffer.from(text);
}
