/**
 * The SMTP server's listening socket and its sessions.
 *
 * Source: DESIGN §2 "smtpd", P10; smtp-server 3.21.6.
 */
import type { Socket } from "node:net";

import { listenOn } from "@postmq/service-kit";
import { SMTPServer } from "smtp-server";
import type { SMTPConnectionOptions } from "smtp-server/lib/smtp-connection.js";

import type { DialogueContext } from "./dialogue.ts";
import { SmtpdSession } from "./smtpd-session.ts";

/** Below service-kit's grace of 25 s, so that the process ends in good order. */
const drainLimitMs = 20_000;

export class SmtpdListener extends SMTPServer {
  readonly #context: DialogueContext;
  readonly #sessions = new Set<SmtpdSession>();
  #isStopping = false;
  #whenGone: (() => void) | undefined;

  constructor(context: DialogueContext) {
    // A client may shut down its side once it has sent everything: it still gets its replies.
    const halfOpen = { allowHalfOpen: true };
    super({
      ...halfOpen,
      hideSTARTTLS: true,
      // Without it smtp-server asks the system for the host's name at each connection.
      name: context.settings.myhostname,
      logger: false,
      socketTimeout: context.settings.timeoutMs,
    });
    this.#context = context;
  }

  /** @returns the address with the port that was chosen if it was 0. @throws what the system says. */
  async listenAt(address: string): Promise<string> {
    const bound = await listenOn(this.server, { parameter: "smtpd_listen", value: address });
    this.on("error", (error) => this.#context.log.error(`SMTP listener: ${error.message}`));
    return bound;
  }

  /**
   * Goes straight to `connect`: there is no PROXY header to wait for, and a session needs no random id.
   *
   * What smtp-server would find out by system calls and nobody reads is given: the local address.
   */
  override _handleProxy(
    _socket: Socket,
    ready: (error: Error | null, options: SMTPConnectionOptions & { readonly id: string }) => void,
  ): void {
    ready(null, { id: "-", localAddress: "-", localPort: 1 });
  }

  override connect(socket: Socket, options?: SMTPConnectionOptions | null): void {
    const session = new SmtpdSession(this, socket, options, this.#context);
    this.#sessions.add(session);
    // After smtp-server's own listener, so that a session that is no longer listed has come to its end.
    socket.once("close", () => setImmediate(() => this.#forget(session)));
    session.init();
    if (this.#isStopping) session.stop();
  }

  /**
   * Takes no new clients, lets messages that are on their way in come to their end; resolves when the last client is
   * gone. A client that dawdles over its message is cut off after a while, and keeps it.
   */
  async drain(limitMs = drainLimitMs): Promise<void> {
    this.#isStopping = true;
    this.#context.inFlow.end();
    const closed = new Promise<void>((resolve) => this.server.close(() => resolve()));
    const gone = new Promise<void>((resolve) => {
      this.#whenGone = resolve;
      if (this.#sessions.size === 0) resolve();
    });
    for (const session of this.#sessions) session.stop();
    const cutOff = setTimeout(() => {
      for (const session of this.#sessions) session.cut();
    }, limitMs);
    await Promise.all([closed, gone]);
    clearTimeout(cutOff);
    this.#context.deadline.close();
  }

  #forget(session: SmtpdSession): void {
    this.#sessions.delete(session);
    if (this.#sessions.size === 0) this.#whenGone?.();
  }
}
