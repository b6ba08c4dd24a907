// Preloaded into services by a test: kills the delivery process that is about to send a body with the marker.
import { Socket } from "node:net";

const marker = Buffer.from("X-Kill-The-Worker: now");
// oxlint-disable-next-line typescript/unbound-method -- it is called below with the socket that it belongs to
const write = Socket.prototype.write;

function holdsMarker(data) {
  if (typeof data === "string") return data.includes(marker.toString());
  return (
    data instanceof Uint8Array &&
    Buffer.from(data.buffer, data.byteOffset, data.length).includes(marker)
  );
}

if (process.argv.some((argument) => argument.includes("smtp-delivery"))) {
  Socket.prototype.write = function writeOrDie(data, ...rest) {
    if (holdsMarker(data)) process.kill(process.pid, "SIGKILL");
    return write.call(this, data, ...rest);
  };
}
