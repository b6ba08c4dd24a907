/** A socket whose writes go out one byte at a time. */
import type { Socket } from "node:net";
import { Duplex } from "node:stream";
import { setTimeout as delay } from "node:timers/promises";

/** @param socket paused: what it has read already is read here */
export function dripping(socket: Socket, everyMs: number): Duplex {
  const drip = async (bytes: Buffer, done: (error?: Error) => void) => {
    for (const byte of bytes) {
      if (socket.destroyed) return done(new Error("the connection is gone"));
      socket.write(Uint8Array.of(byte));
      await delay(everyMs);
    }
    done();
  };
  const duplex = new Duplex({
    read: () => void socket.resume(),
    write: (bytes: Buffer, _encoding, done) => void drip(bytes, done),
    final: (done) => void socket.end(done),
    destroy: (error, done) => {
      socket.destroy();
      done(error);
    },
  });
  // Who reads from it hears of its end.
  duplex.on("error", () => {});
  socket.on("data", (bytes: Buffer) => {
    if (!duplex.push(bytes)) socket.pause();
  });
  socket.once("end", () => duplex.push(null));
  socket.once("close", () => duplex.destroy());
  return duplex;
}
