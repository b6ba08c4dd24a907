/** The SMTP server on a free port of 127.0.0.1 over an Intake in memory, with the defaults of the parameters. */
import { loadParameters } from "@postmq/config";
import type { Log } from "@postmq/observability";
import { createMetrics } from "@postmq/observability";
import type { Intake } from "@postmq/queue-store";
import { InFlowDelay } from "@postmq/service-kit";
import { systemClock } from "@postmq/vocabulary";

import { CommitDeadline } from "./commit-deadline.ts";
import type { DialogueContext } from "./dialogue.ts";
import { makeRelayGuard } from "./relay-guard.ts";
import { SmtpdListener } from "./smtpd-listener.ts";
import { declareSmtpdMetrics } from "./smtpd-metrics.ts";
import { readSmtpdSettings } from "./smtpd-settings.ts";

export type ListenerOptions = {
  readonly intake: Intake;
  /** Parameters by Postfix name; myhostname is mail.example.com. */
  readonly parameters?: Readonly<Record<string, string>>;
  /** Default: yes. */
  readonly isTrusted?: boolean;
  /** May ask for VERP. Default: no. */
  readonly isVerp?: boolean;
  /** Default: no. */
  readonly isOwn?: boolean;
  readonly commitLimitMs?: number;
};

export type RunningListener = AsyncDisposable & {
  readonly listener: SmtpdListener;
  readonly port: number;
  /** Log lines, `<id>: ` in front where there is one. */
  readonly lines: string[];
};

/** What a dialogue needs, without a socket. */
export function dialogueContext(options: ListenerOptions, lines: string[]): DialogueContext {
  const env = Object.fromEntries(
    Object.entries({ myhostname: "mail.example.com", ...options.parameters }).map(
      ([name, value]) => [`POSTMQ_${name.toUpperCase()}`, value],
    ),
  );
  const parameters = loadParameters({ env, service: "smtpd" });
  const settings = readSmtpdSettings(parameters);
  return {
    settings,
    intake: options.intake,
    inFlow: new InFlowDelay(parameters.in_flow_delay, options.intake),
    deadline: new CommitDeadline(options.commitLimitMs ?? 20_000),
    log: lineLog(lines),
    metrics: declareSmtpdMetrics(createMetrics("smtpd")),
    clock: systemClock,
    relayGuard: makeRelayGuard(settings.relay),
    isTrustedClient: () => options.isTrusted ?? true,
    isVerpClient: () => options.isVerp ?? false,
    isOwnAddress: () => options.isOwn ?? false,
  };
}

export async function startListener(options: ListenerOptions): Promise<RunningListener> {
  const lines: string[] = [];
  const listener = new SmtpdListener(dialogueContext(options, lines));
  const address = await listener.listenAt("127.0.0.1:0");
  return {
    listener,
    port: Number(address.split(":").at(-1)),
    lines,
    [Symbol.asyncDispose]: () => listener.drain(),
  };
}

function lineLog(lines: string[]): Log {
  const line = (prefix: string) => (text: string, id?: string) => {
    lines.push(id === undefined ? `${prefix}${text}` : `${id}: ${prefix}${text}`);
  };
  return { info: line(""), warning: line("warning: "), error: line("error: ") };
}
