/** A service that does nothing, run as a process by run-service.redis.test.ts; FAKE tells it how to misbehave. */
import { createServer } from "node:net";
import { listenOn } from "./listen-address.ts";
import { runService } from "./run-service.ts";

const fake = process.env["FAKE"] ?? "";

await runService("smtpd", async ({ parameters, log }) => {
  const server = createServer();
  const address = await listenOn(server, {
    parameter: "smtpd_listen",
    value: parameters.smtpd_listen,
  });
  if (fake === "throw") {
    setImmediate(() => {
      throw new Error("a bug at redis://u:canary@h");
    });
  }
  return {
    listeners: [{ name: "smtp", address }],
    notReady: () => (fake === "unready" ? "not today" : undefined),
    drain: async () => {
      log.info("draining");
      server.close();
      if (fake === "slow-drain") await new Promise((resolve) => setTimeout(resolve, 200));
      log.info("drained");
    },
  };
});
