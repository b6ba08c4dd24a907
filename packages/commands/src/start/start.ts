/**
 * `npm start`, `postmq start`: the whole system on this machine.
 *
 * Reads the configuration once for itself (where the data is, which Redis), takes the data directory's lock, and
 * hands over to the Supervisor. Every service reads its own parameters from the environment it is given, to which
 * only what this start decided is added: the configuration file, the data directory, the Redis, the metrics port.
 *
 * Source: DESIGN §7 `npm start`.
 */
import { hostname } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import {
  loadParameters,
  processEnvironment,
  readSettings,
  type ParameterSource,
} from "@postmq/config";
import {
  exitCodes,
  isPostmqError,
  PostmqError,
  serviceNames,
  systemClock,
  type ServiceName,
} from "@postmq/vocabulary";
import { withSettings } from "./child-environment.ts";
import { lockDataDirectory } from "./data-lock.ts";
import { parseScale, planProcesses, type Scale } from "./service-plan.ts";
import { writeStartStatus } from "./start-status.ts";
import { drainGraceMs, Supervisor } from "./supervisor.ts";

const usageText = `usage: postmq start [--scale service=copies]…

Runs every service of postmq on this machine, with a Redis of its own unless POSTMQ_REDIS_URL is set.
`;

/** The checkout (or image) that this file belongs to. */
const installation = join(import.meta.dirname, "../../../..");

/**
 * Runs until SIGTERM, SIGINT or SIGHUP.
 *
 * @returns the exit status: 0 after a clean end; 1 already running; 64, 69 or 78 when it could not start.
 */
export async function start(args: readonly string[]): Promise<number> {
  try {
    const { values } = parseStartArguments(args);
    if (values.help === true) {
      process.stdout.write(usageText);
      return exitCodes.ok;
    }
    return await startScaled(parseScale(values.scale ?? []));
  } catch (error) {
    if (!isPostmqError(error)) throw error;
    process.stderr.write(`postmq start: ${error.message}\n`);
    return exitStatusOf(error);
  }
}

function parseStartArguments(args: readonly string[]) {
  try {
    return parseArgs({
      args: [...args],
      options: {
        scale: { type: "string", multiple: true },
        help: { type: "boolean", short: "h" },
      },
    });
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new PostmqError("PMQ_USAGE", `${reason}\n${usageText}`, { cause });
  }
}

async function startScaled(scale: Scale): Promise<number> {
  const configuration = readConfiguration();
  const lock = lockDataDirectory(configuration.dataDirectory);
  const supervisor = new Supervisor({
    planned: planProcesses(scale, configuration.metricsBase),
    entryOf: serviceEntry,
    env: configuration.env,
    ...(configuration.needsOwnRedis ? { ownRedisIn: configuration.dataDirectory } : {}),
    graceMs: drainGraceMs,
    clock: systemClock,
    say: (line) => process.stdout.write(`${line}\n`),
    warn: warning(configuration),
    onChange: (processes) => writeStartStatus(configuration.dataDirectory, processes),
  });
  const end = (): void => supervisor.end();
  const signals = ["SIGTERM", "SIGINT", "SIGHUP"] as const;
  for (const signal of signals) process.on(signal, end);
  try {
    return await supervisor.run();
  } finally {
    for (const signal of signals) process.off(signal, end);
    lock.release();
  }
}

type StartConfiguration = {
  readonly dataDirectory: string;
  readonly metricsBase: string;
  readonly needsOwnRedis: boolean;
  readonly syslogName: string;
  readonly logFormat: "postfix" | "json";
  /** What every service is started with. */
  readonly env: NodeJS.ProcessEnv;
};

function readConfiguration(): StartConfiguration {
  // Metrics ports count on from the first service's, whether that is set or the default.
  const source: ParameterSource = {
    env: processEnvironment(),
    service: serviceNames[0],
    configFile: join(installation, "main.cf"),
  };
  const parameters = loadParameters(source);
  const { configFile } = readSettings(source);
  const env = withSettings(processEnvironment(), {
    ...(configFile === undefined ? {} : { POSTMQ_CONFIG: configFile }),
    POSTMQ_DATA_DIRECTORY: parameters.data_directory,
  });
  return {
    dataDirectory: parameters.data_directory,
    metricsBase: parameters.metrics_listen,
    needsOwnRedis: parameters.redis_url === "",
    syslogName: parameters.syslog_name,
    logFormat: parameters.log_format,
    env,
  };
}

function serviceEntry(service: ServiceName): string {
  return join(installation, "services", service, "src", "main.ts");
}

/** Log lines in the form of those of the services, under the name of Postfix's supervisor. */
function warning(
  how: Pick<StartConfiguration, "syslogName" | "logFormat">,
): (text: string) => void {
  const host = hostname();
  const program = `${how.syslogName}/master`;
  const { pid } = process;
  return (text) => {
    const time = new Date(systemClock.nowMs()).toISOString();
    const line =
      how.logFormat === "json"
        ? JSON.stringify({ time, host, program, pid, level: "warning", text })
        : `${time} ${host} ${program}[${pid}]: warning: ${text}`;
    process.stdout.write(`${line}\n`);
  };
}

function exitStatusOf(error: PostmqError): number {
  switch (error.code) {
    case "PMQ_ALREADY_RUNNING":
      return 1;
    case "PMQ_USAGE":
      return exitCodes.usage;
    case "PMQ_CONFIG_INVALID":
      return exitCodes.config;
    default:
      return exitCodes.unavailable;
  }
}
