/**
 * Which processes `npm start` runs, in the order a message meets them, and where each serves its metrics.
 *
 * Services without a listener of their own for mail or people can run in several copies: they share work through
 * the queues. The first copies keep the known ports (pickup 9151 … bounce 9157); further copies count on from 9160.
 *
 * Source: DESIGN §7.
 */
import { PostmqError, serviceNames } from "@postmq/vocabulary";
import type { ServiceName } from "@postmq/vocabulary";

/** Those that listen on one address of their own, so that a second copy would find it taken. */
const single: readonly ServiceName[] = ["pickup", "smtpd", "showq"];
const mostCopies = 64;
const extraCopiesFrom = 9;

export type PlannedProcess = {
  readonly service: ServiceName;
  /** `smtp-delivery`, `smtp-delivery/2` … */
  readonly name: string;
  /** "host:port" for metrics_listen; empty: none. */
  readonly metricsListen: string;
};

/** Copies per service where it is not one. */
export type Scale = ReadonlyMap<ServiceName, number>;

/**
 * Reads `name=copies` arguments of `--scale`.
 *
 * @throws PMQ_USAGE for an unknown service, one that can't be scaled, or a number that makes no sense.
 */
export function parseScale(settings: readonly string[]): Scale {
  const scale = new Map<ServiceName, number>();
  for (const setting of settings) {
    const [name = "", copiesText = ""] = setting.split("=", 2);
    const service = serviceNames.find((known) => known === name);
    const copies = /^\d{1,3}$/.test(copiesText) ? Number(copiesText) : Number.NaN;
    if (service === undefined)
      throw usage(`--scale ${setting}: no such service; known: ${serviceNames.join(", ")}`);
    if (!(copies <= mostCopies))
      throw usage(`--scale ${setting}: copies must be 0 to ${mostCopies}`);
    if (copies > 1 && single.includes(service)) {
      throw usage(`--scale ${setting}: ${service} has one listener on this machine and runs once`);
    }
    scale.set(service, copies);
  }
  return scale;
}

function usage(text: string): PostmqError {
  return new PostmqError("PMQ_USAGE", text);
}

/**
 * @param metricsBase "host:port" of the first service's metrics, the rest counting on; port 0: each takes a free
 *   one; empty: no metrics.
 */
export function planProcesses(scale: Scale, metricsBase: string): readonly PlannedProcess[] {
  const planned: PlannedProcess[] = [];
  let extraCopies = 0;
  serviceNames.forEach((service, index) => {
    for (let copy = 1; copy <= (scale.get(service) ?? 1); copy++) {
      const offset = copy === 1 ? index : extraCopiesFrom + extraCopies++;
      const name = copy === 1 ? service : `${service}/${copy}`;
      planned.push({ service, name, metricsListen: countOn(metricsBase, offset) });
    }
  });
  return planned;
}

function countOn(listen: string, offset: number): string {
  const colon = listen.lastIndexOf(":");
  const port = Number(listen.slice(colon + 1));
  return colon < 0 || port === 0 ? listen : `${listen.slice(0, colon)}:${port + offset}`;
}
