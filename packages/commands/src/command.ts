/** What a command gets from its process, and how it ends before its time. */

export type CommandContext = {
  /** The name it was called by, for its messages. */
  readonly name: string;
  /** Arguments after that name. */
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Standard input. */
  readonly input: AsyncIterable<Buffer>;
  /** Standard output is a terminal. */
  readonly isTerminal: boolean;
  /** Standard error is one: somebody may watch the progress. */
  readonly isErrorTerminal: boolean;
  readonly print: (text: string) => void;
  /** Prints, and waits while whoever reads is slow: for what may be long, or is no text. */
  readonly stream: (part: string | Uint8Array) => Promise<void>;
  /** Writes to standard error. */
  readonly complain: (text: string) => void;
  readonly user: User;
};

export type User = { readonly uid: number; readonly name: string };

/** @returns the exit status. Source: spec admin-tools.md "Common". */
export type Command = (context: CommandContext) => Promise<number>;

/** The end of a command with words for its user: printed as `name: fatal: words`. */
export class CommandFailure extends Error {
  override readonly name = "CommandFailure";
  readonly exitCode: number;

  constructor(exitCode: number, message: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.exitCode = exitCode;
  }
}
