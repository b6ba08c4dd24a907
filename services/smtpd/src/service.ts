/** Builds the SMTP server from the parameters. Source: DESIGN §2 "smtpd". */
import { networkInterfaces } from "node:os";

import { InFlowDelay } from "@postmq/service-kit";
import type { Service, ServiceContext } from "@postmq/service-kit";
import { inNetworks, parseNetworks } from "@postmq/tables";

import { CommitDeadline } from "./commit-deadline.ts";
import { makeRelayGuard } from "./relay-guard.ts";
import { SmtpdListener } from "./smtpd-listener.ts";
import { declareSmtpdMetrics } from "./smtpd-metrics.ts";
import { readSmtpdSettings } from "./smtpd-settings.ts";

/** How long a client waits for the store before it is told to come again. Source: faults.md 19. */
const commitLimitMs = 20_000;

export async function startSmtpd(context: ServiceContext): Promise<Service> {
  const { parameters, store, log, metrics } = context;
  const settings = readSmtpdSettings(parameters);
  const trusted = parseNetworks(parameters.mynetworks);
  const verpClients = parseNetworks(
    parameters.smtpd_authorized_verp_clients,
    "smtpd_authorized_verp_clients",
  );
  const ownAddresses = new Set(
    Object.values(networkInterfaces()).flatMap((addresses) =>
      (addresses ?? []).map(({ address }) => address.toLowerCase()),
    ),
  );
  const intake = store.intake();
  const listener = new SmtpdListener({
    settings,
    intake,
    inFlow: new InFlowDelay(parameters.in_flow_delay, intake),
    deadline: new CommitDeadline(commitLimitMs),
    log,
    metrics: declareSmtpdMetrics(metrics),
    clock: store.clock,
    relayGuard: makeRelayGuard(settings.relay),
    isTrustedClient: (address) => inNetworks(address, trusted),
    isVerpClient: (address) => inNetworks(address, verpClients),
    isOwnAddress: (address) => ownAddresses.has(address),
  });
  const isOff = parameters.smtpd_listen === "";
  const listeners = isOff
    ? []
    : [{ name: "smtp", address: await listener.listenAt(parameters.smtpd_listen) }];
  return {
    listeners,
    notReady: () => undefined,
    drain: () => listener.drain(),
  };
}
