/**
 * A process that behaves towards its supervisor as a service does, and as badly as FAKE_BEHAVIOUR says. Run, never
 * imported. It leaves a line in FAKE_LOG for each thing that happens to it.
 */
import { appendFileSync } from "node:fs";
import { createConnection } from "node:net";

const behaviour = process.env["FAKE_BEHAVIOUR"] ?? "";
const redisSocket = (process.env["POSTMQ_REDIS_URL"] ?? "").replace("unix://", "");

function note(event: string): void {
  appendFileSync(process.env["FAKE_LOG"] ?? "/dev/null", `${process.pid} ${event}\n`);
}

function redisAnswers(): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = createConnection(redisSocket, () => socket.write("PING\r\n"));
    socket.on("data", () => resolve(true));
    socket.on("error", () => resolve(false));
  });
}

if (behaviour === "refuses its configuration") process.exit(78);

process.on("SIGTERM", () => {
  note("SIGTERM");
  if (behaviour === "does not drain") return;
  void redisAnswers().then((answers) => {
    note(`drained with${answers ? "" : "out"} redis`);
    process.exit(0);
  });
});
process.on("disconnect", () => {
  note("disconnect");
  process.exit(0);
});
note("started");
for (const [listener, address] of [
  ["mail", "127.0.0.1:1"],
  ["metrics", process.env["POSTMQ_METRICS_LISTEN"]],
]) {
  process.send?.({ type: "listening", service: "fake", listener, address });
}
process.send?.({ type: "ready" });
