/**
 * What tests of the delivery dialogue stand on: requests, a store's delivery side that records its calls in order, and a
 * worker whose parameters are short enough for tests.
 */
import assert from "node:assert/strict";

import { loadParameters } from "@postmq/config";
import type {
  ClaimAnswer,
  ClaimedRequest,
  ConnectionTokens,
  Delivering,
  RequestResult,
} from "@postmq/queue-store";
import { PostmqError, panic, parseQueueId } from "@postmq/vocabulary";
import type { RecipientOutcome, RequestName } from "@postmq/vocabulary";

import type { AttemptResult } from "./attempt/attempt.ts";
import { DeliveryWorker } from "./job/delivery-worker.ts";
import type { MailResolver } from "@postmq/dns";
import { openAttemptSettings } from "./settings.ts";

export const message = Buffer.from("Subject: x\r\n\r\n.hello\r\n");

export function requestName(number: number): RequestName {
  return { id: parseQueueId(`4cTEST${number}`) ?? panic("test id"), number, generation: 1 };
}

/** A request for one recipient, or for those named. */
export function request(
  number: number,
  nexthop: string,
  changes: Partial<ClaimedRequest> & { readonly to?: readonly string[] } = {},
): ClaimedRequest {
  const { to = [`user${number}@example.net`], ...rest } = changes;
  const inline = rest.inline ?? message;
  return {
    name: requestName(number),
    destination: { transport: "smtp", nexthop },
    arrivalMs: 1_000,
    activeMs: 2_000,
    createdMs: 1_000,
    wasWarned: false,
    envelope: { sender: "sender@example.com", origin: "smtp" },
    recipients: to.map((address, at) => ({ address, number: at, state: { kind: "todo" } })),
    content: { contentId: "c", sizeBytes: inline.length, chunks: 1 },
    inline,
    ...rest,
  };
}

/** A request whose content comes in chunks. */
export function chunkedRequest(
  number: number,
  nexthop: string,
  content: { readonly sizeBytes: number; readonly chunks: number },
): ClaimedRequest {
  const { inline: _, ...rest } = request(number, nexthop);
  return { ...rest, content: { contentId: "c", ...content } };
}

/** A store's delivery side: what was called, in order, and what it answers. */
export class FakeDelivering implements Delivering {
  readonly worker = "test.1";
  /** `claim`, `mark N`, `end N kind`, and whatever a test adds. */
  readonly calls: string[] = [];
  readonly ends: RequestResult[] = [];
  answers = new Map<number, ClaimAnswer>();
  mark: (name: RequestName) => Promise<boolean> = async () => true;
  written: (result: RequestResult) => Promise<void> = async () => {};
  content: () => AsyncIterable<Buffer> = () => panic("no content to read");
  /** Granted at once, whatever the limit, and counted in `open`. */
  connections: ConnectionTokens = {
    onAsked: () => {},
    isAskedFor: async () => false,
    take: async ({ name }) => {
      const add = (count: number) => this.open.set(name, (this.open.get(name) ?? 0) + count);
      add(1);
      let isGiven = false;
      return {
        name,
        [Symbol.dispose]: () => {
          if (!isGiven) add(-1);
          isGiven = true;
        },
      };
    },
  };
  /** Tokens that are out, by name. */
  readonly open = new Map<string, number>();
  readonly #unwritten = new Set<RequestResult>();
  readonly restored: RequestResult[] = [];

  offer(...requests: readonly ClaimedRequest[]): readonly RequestName[] {
    for (const one of requests) this.answers.set(one.name.number, one);
    return requests.map(({ name }) => name);
  }

  async isQueued(): Promise<boolean> {
    return true;
  }

  async claim(names: readonly RequestName[]): Promise<readonly ClaimAnswer[]> {
    this.calls.push(`claim ${names.map(({ number }) => number).join()}`);
    return names.map(({ number }) => this.answers.get(number) ?? "stale");
  }

  async markDotSent(name: RequestName): Promise<boolean> {
    this.calls.push(`mark ${name.number}`);
    return await this.mark(name);
  }

  async record(name: RequestName, outcomes: readonly RecipientOutcome[]): Promise<void> {
    this.calls.push(`record ${name.number} ${outcomes.map(({ recipient }) => recipient).join()}`);
  }

  async end(result: RequestResult): Promise<void> {
    this.calls.push(`end ${result.name.number} ${result.end}`);
    this.ends.push(result);
    this.#unwritten.add(result);
    await this.written(result);
    this.#unwritten.delete(result);
  }

  readContent(): AsyncIterable<Buffer> {
    return this.content();
  }

  unwritten(): readonly RequestResult[] {
    return [...this.#unwritten];
  }

  async restore(results: readonly RequestResult[]): Promise<void> {
    this.restored.push(...results);
  }

  /** The only end there is. */
  get onlyEnd(): RequestResult {
    assert.equal(this.ends.length, 1);
    return this.ends[0] ?? panic("no end");
  }

  /** `recipient kind status` of the only end. */
  get shownOutcomes(): readonly string[] {
    return this.onlyEnd.outcomes
      .toSorted((a, b) => a.recipient - b.recipient)
      .map(({ recipient, kind, status }) => `${recipient} ${kind} ${status}`);
  }

  get onlyOutcome(): RecipientOutcome {
    assert.equal(this.onlyEnd.outcomes.length, 1);
    return this.onlyEnd.outcomes[0] ?? panic("no outcome");
  }
}

export const noDns: MailResolver = {
  mx: async () => ({ kind: "notFound" }),
  addresses: async () => ({ kind: "notFound" }),
  txt: async () => ({ kind: "notFound" }),
};

export type TestWorker = {
  readonly worker: DeliveryWorker;
  readonly delivering: FakeDelivering;
  readonly log: string[];
  readonly attempts: AttemptResult[];
  readonly draining: AbortController;
  serve(...requests: readonly ClaimedRequest[]): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
};

/** @param env parameters that differ, by environment name */
export async function startWorker(
  env: Readonly<Record<string, string>> = {},
  options: {
    readonly resolver?: MailResolver;
    readonly drainDeadlineMs?: number;
    /** Default: as many as are wanted. */
    readonly connections?: ConnectionTokens;
  } = {},
): Promise<TestWorker> {
  const delivering = new FakeDelivering();
  if (options.connections !== undefined) delivering.connections = options.connections;
  const log: string[] = [];
  const attempts: AttemptResult[] = [];
  const draining = new AbortController();
  const write = (level: string) => (text: string) => void log.push(`${level}${text}`);
  const parameters = loadParameters({
    env: { POSTMQ_MYHOSTNAME: "mx.example.com", POSTMQ_DATA_DIRECTORY: "", ...env },
    service: "smtp-delivery",
  });
  const worker = new DeliveryWorker({
    parameters,
    delivering,
    settings: await openAttemptSettings(parameters, {
      resolver: options.resolver ?? noDns,
      onWarning: write("warning: "),
      onInfo: write(""),
    }),
    log: { info: write(""), warning: write("warning: "), error: write("error: ") },
    draining: draining.signal,
    nowMs: () => 3_000,
    onAttempt: (claimed, result) => {
      delivering.calls.push(`log ${claimed.name.number}`);
      attempts.push(result);
    },
    ...(options.drainDeadlineMs === undefined ? {} : { drainDeadlineMs: options.drainDeadlineMs }),
  });
  return {
    worker,
    delivering,
    log,
    attempts,
    draining,
    serve: (...requests) =>
      worker.serve({ requests: delivering.offer(...requests), keepsConnection: true }),
    [Symbol.asyncDispose]: () => worker.drain(Promise.resolve()),
  };
}

/** An error as the store throws it for content that is gone. */
export function unreadable(): PostmqError {
  return new PostmqError("PMQ_MESSAGE_UNREADABLE", "chunk 1 is missing");
}
