/**
 * sendmail, and mailq, which is the same program: reads a message from standard input and queues it.
 *
 * Everything that can be refused is refused before anything is stored. Exit 0 means that the message is on disk: in
 * Redis, or in the drop directory while Redis is away (P1).
 *
 * Source: spec admin-tools.md §4, queues.md §3.1; sendmail(1); DESIGN §7.
 */
import type { Parameters } from "@postmq/config";
import { parseAddressHeader, scanHeaders } from "@postmq/mail-format";
import { areVerpDelimiters, exitCodes } from "@postmq/vocabulary";
import type { Envelope, Recipient } from "@postmq/vocabulary";

import { CommandFailure } from "../command.ts";
import type { CommandContext, User } from "../command.ts";
import { inInstance } from "../instance-option.ts";
import { readParameters } from "../read-parameters.ts";
import { assertAllowed } from "../user-access.ts";
import { parseSendmailArguments } from "./arguments.ts";
import type { SendmailRequest, Submission } from "./arguments.ts";
import { readMessage } from "./message-input.ts";

const recipientHeaders = ["to", "cc", "bcc"];

export async function sendmail(context: CommandContext): Promise<number> {
  const { name, args, env, user } = context;
  const request = parseSendmailArguments({
    args,
    isMailq: name === "mailq",
    userName: user.name,
    fullName: env["NAME"],
    warn: (text) => context.complain(`${name}: warning: ${text}\n`),
  });
  const inQueue = request.instance === undefined ? env : inInstance(request.instance, env);
  const inPlace = { ...context, env: inQueue };
  switch (request.mode) {
    case "list":
      return await list(inPlace, request.config);
    case "flush":
      return await runQueue(inPlace, request);
    case "submit":
      return await enqueue(inPlace, request);
  }
}

async function list(context: CommandContext, config: string | undefined): Promise<number> {
  const { printQueue } = await import("../postqueue.ts");
  return await printQueue(context, "text", config);
}

async function runQueue(context: CommandContext, request: SendmailRequest): Promise<number> {
  const queueRun = await import("./queue-run.ts");
  return await queueRun.runQueue(context, request);
}

async function enqueue(context: CommandContext, request: SendmailRequest): Promise<number> {
  const parameters = readParameters(context.env, request.config);
  const { submission } = request;
  const said = (text: string) => `${submission.sender}(${context.user.uid}): ${text}`;
  const items = parameters.authorized_submit_users;
  assertAllowed(context.user, { parameter: "authorized_submit_users", items }, "submit mail");
  if (submission.recipients.length === 0 && !submission.extractRecipients) {
    const text = "Recipient addresses must be specified on the command line or via the -t option";
    throw new CommandFailure(exitCodes.usage, said(text));
  }
  const verpDelimiters = verpOf(submission, parameters);
  if (verpDelimiters !== undefined && submission.sender === "") {
    const text = "-V option requires non-null sender address";
    throw new CommandFailure(exitCodes.usage, said(text));
  }
  const content = await readMessage(context.input, {
    dotEndsInput: submission.dotEndsInput,
    maxBytes: parameters.message_size_limit,
  }).catch((error: unknown) => {
    const reason = error instanceof Error ? error.message : String(error);
    throw new CommandFailure(exitCodes.dataErr, said(`error reading input: ${reason}`), error);
  });
  if (content === "tooBig") {
    const text = `message file too big: message_size_limit is ${parameters.message_size_limit} bytes`;
    throw new CommandFailure(exitCodes.unavailable, said(text));
  }
  if (submission.recipients.length === 0 && !namesRecipients(content)) {
    throw new CommandFailure(
      exitCodes.usage,
      said("No recipient addresses found in message header"),
    );
  }
  const { submit } = await import("./submit.ts");
  const recipients = recipientsOf(submission);
  const envelope = {
    ...envelopeOf(submission, context.user),
    ...(verpDelimiters === undefined ? {} : { verpDelimiters }),
  };
  await submit(parameters, { envelope, recipients, content });
  return exitCodes.ok;
}

/** Source: sendmail(1) -XV; postconf(5) verp_delimiter_filter. */
function verpOf({ verpDelimiters }: Submission, parameters: Parameters): string | undefined {
  const allowed = parameters.verp_delimiter_filter;
  if (verpDelimiters === undefined) return undefined;
  if (verpDelimiters === "") return parameters.default_verp_delimiters;
  if (areVerpDelimiters(verpDelimiters, allowed)) return verpDelimiters;
  throw new CommandFailure(exitCodes.usage, `-V requires two characters from ${allowed}`);
}

/** Whether the headers that -t reads hold any address. They are read for good by cleanup. */
function namesRecipients(content: readonly Buffer[]): boolean {
  const { headers } = scanHeaders(Buffer.concat(content));
  const naming = headers.filter(({ name }) =>
    recipientHeaders.includes(name.replace(/^resent-/, "")),
  );
  return naming.some((header) => parseAddressHeader(header.value()).length > 0);
}

function recipientsOf({ recipients, notify }: Submission): readonly Recipient[] {
  return recipients.map((address) => (notify === undefined ? { address } : { address, notify }));
}

function envelopeOf(submission: Submission, user: User): Envelope {
  const { sender, fullName, encoding, ret, envid, extractRecipients, notify } = submission;
  const addresses = [sender, ...submission.recipients];
  const isInternational = addresses.some((address) => /\P{ASCII}/u.test(address));
  return {
    sender,
    origin: "sendmail",
    ...(isInternational ? { smtputf8: true } : {}),
    client: { name: "localhost", address: "", protocol: "", uid: user.uid },
    ...(fullName === undefined ? {} : { fullName }),
    ...(encoding === undefined ? {} : { encoding }),
    ...(ret === undefined ? {} : { ret }),
    ...(envid === undefined ? {} : { envid }),
    ...(extractRecipients ? { extractRecipients } : {}),
    ...(extractRecipients && notify !== undefined ? { extractedNotify: notify } : {}),
  };
}
