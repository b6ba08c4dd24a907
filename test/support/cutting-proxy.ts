/**
 * A TCP proxy that cuts its first connection at one byte of the dialogue, counted over both directions, and serves all
 * later ones.
 *
 * What passed before the cut is flushed to both sides, so that each end has read exactly what the transcripts show;
 * what came after it is dropped. So it is known from outside who knew what when the connection went.
 */
import { connect, createServer } from "node:net";
import type { Server, Socket } from "node:net";

export class CuttingProxy implements AsyncDisposable {
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  readonly #passed = { toTarget: "", toClient: "" };
  #left: number;
  #connections = 0;

  constructor(server: Server, targetPort: number, offsetBytes: number) {
    this.#server = server;
    this.#left = offsetBytes;
    server.on("connection", (client) => this.#accept(client, targetPort));
  }

  static async start(targetPort: number, offsetBytes: number): Promise<CuttingProxy> {
    const server = createServer({ allowHalfOpen: true });
    const proxy = new CuttingProxy(server, targetPort, offsetBytes);
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    return proxy;
  }

  get port(): number {
    const address = this.#server.address();
    return typeof address === "object" && address !== null ? address.port : 0;
  }

  get isCut(): boolean {
    return this.#left <= 0;
  }

  /** What passed over the first connection, as latin1. */
  get passed(): { readonly toTarget: string; readonly toClient: string } {
    return this.#passed;
  }

  get bytesPassed(): number {
    return this.#passed.toTarget.length + this.#passed.toClient.length;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()));
    for (const socket of this.#sockets) socket.destroy();
    await closed;
  }

  #accept(client: Socket, targetPort: number): void {
    this.#connections += 1;
    const isFirst = this.#connections === 1;
    const target = connect({ port: targetPort, host: "127.0.0.1", allowHalfOpen: true });
    for (const socket of [client, target]) {
      this.#sockets.add(socket);
      socket.setNoDelay(true);
      socket.once("close", () => this.#sockets.delete(socket));
      // The other side's end tells all there is to tell.
      socket.on("error", () => {});
    }
    const pass = (from: Socket, to: Socket, direction: "toTarget" | "toClient") => {
      from.on("data", (bytes: Buffer) => {
        const allowed = isFirst ? this.#take(bytes, direction) : bytes;
        if (allowed.length > 0) to.write(allowed);
        if (isFirst && this.isCut) for (const socket of [client, target]) socket.destroySoon();
      });
      from.on("end", () => to.end());
      from.on("close", () => to.destroySoon());
    };
    pass(client, target, "toTarget");
    pass(target, client, "toClient");
    if (isFirst && this.isCut) for (const socket of [client, target]) socket.destroySoon();
  }

  #take(bytes: Buffer, direction: "toTarget" | "toClient"): Buffer {
    const allowed = bytes.subarray(0, Math.max(0, this.#left));
    this.#left -= bytes.length;
    this.#passed[direction] += allowed.toString("latin1");
    return allowed;
  }
}
