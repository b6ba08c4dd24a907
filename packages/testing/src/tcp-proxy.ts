/**
 * A TCP proxy that breaks the network between two parts: stalls it, cuts it, or leaves it half open.
 */
import { connect, createServer } from "node:net";
import type { Server, Socket } from "node:net";

type Pair = { readonly client: Socket; readonly target: Socket };

export class TcpProxy implements AsyncDisposable {
  readonly #server: Server;
  readonly #pairs = new Set<Pair>();
  #isPaused = false;
  #piecesLeft = Infinity;
  #whenStopped: (() => void) | undefined;
  #hanging: { readonly text: string; readonly begun: () => void } | undefined;
  #isRefusing = false;

  constructor(server: Server, targetPort: number) {
    this.#server = server;
    server.on("connection", (client) => this.#accept(client, targetPort));
  }

  static async start(targetPort: number): Promise<TcpProxy> {
    const server = createServer({ allowHalfOpen: true });
    const proxy = new TcpProxy(server, targetPort);
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    return proxy;
  }

  get port(): number {
    const address = this.#server.address();
    return typeof address === "object" && address !== null ? address.port : 0;
  }

  get openConnections(): number {
    return this.#pairs.size;
  }

  /** Nothing passes in either direction; connections stay open, new ones are taken and hang. */
  pause(): void {
    this.#isPaused = true;
    for (const { client, target } of this.#pairs) {
      client.pause();
      target.pause();
    }
  }

  /** What the target answers is held back; what clients say still passes. */
  holdReplies(): void {
    for (const { target } of this.#pairs) target.pause();
  }

  /** Passes on what was held back. */
  resume(): void {
    this.#isPaused = false;
    this.#piecesLeft = Infinity;
    for (const { client, target } of this.#pairs) {
      client.resume();
      target.resume();
    }
  }

  /**
   * Passes that many more pieces on from clients to the target, then pauses. Killing a client there is a death
   * between two of its steps, since a step is what it writes at once.
   */
  async pauseAfter(pieces: number): Promise<void> {
    this.#piecesLeft = pieces;
    await new Promise<void>((resolve) => {
      this.#whenStopped = resolve;
    });
  }

  /**
   * The first connection whose client says that text hangs: the piece in which it stands is dropped, and all that the
   * client says after it. The others go on. Resolves when it hangs.
   */
  async hangAt(text: string): Promise<void> {
    await new Promise<void>((resolve) => {
      this.#hanging = { text, begun: resolve };
    });
  }

  /** Resets every connection. New ones are served. */
  cut(): void {
    for (const { client, target } of this.#pairs) {
      reset(client);
      reset(target);
    }
  }

  /** Only the target learns that the connection ended; the client waits for ever. */
  halfOpen(): void {
    for (const { client, target } of this.#pairs) {
      client.pause();
      target.destroy();
    }
  }

  /** New connections are reset at once, or served again. */
  refuse(isRefusing: boolean): void {
    this.#isRefusing = isRefusing;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()));
    this.cut();
    await closed;
  }

  #accept(client: Socket, targetPort: number): void {
    if (this.#isRefusing) {
      reset(client);
      return;
    }
    const target = connect({ port: targetPort, host: "127.0.0.1", allowHalfOpen: true });
    const pair = { client, target };
    this.#pairs.add(pair);
    let isHanging = false;
    join(client, target, (piece) => {
      isHanging ||= this.#beginsToHang(piece);
      return !isHanging && this.#countPiece();
    });
    join(target, client, () => true);
    client.once("close", () => {
      this.#pairs.delete(pair);
      target.destroy();
    });
    if (this.#isPaused) {
      client.pause();
      target.pause();
    }
  }

  #beginsToHang(piece: Buffer): boolean {
    const hanging = this.#hanging;
    if (hanging === undefined || !piece.includes(hanging.text)) return false;
    this.#hanging = undefined;
    hanging.begun();
    return true;
  }

  /** @returns false for a piece that came after the last one that `pauseAfter` lets pass. */
  #countPiece(): boolean {
    this.#piecesLeft -= 1;
    if (this.#piecesLeft > 0) return true;
    const isLast = this.#piecesLeft === 0;
    if (isLast) {
      this.pause();
      this.#whenStopped?.();
    }
    return isLast;
  }
}

/** A socket that has ended its side can't be reset any more: Node would leave its handle open. */
function reset(socket: Socket): void {
  if (socket.writableEnded || socket.connecting) socket.destroy();
  else socket.resetAndDestroy();
}

/** @param mayPass asked for each piece; one that may not pass is dropped. */
function join(from: Socket, to: Socket, mayPass: (piece: Buffer) => boolean): void {
  from.on("data", (piece: Buffer) => {
    if (mayPass(piece)) to.write(piece);
  });
  from.on("end", () => to.end());
  // A failure on one side ends the other; a half-open client is destroyed only with the proxy.
  from.on("error", () => to.destroy());
}
