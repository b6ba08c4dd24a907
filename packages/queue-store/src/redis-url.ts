/**
 * redis_url as options of the client: TCP, TLS, a Unix socket, or Sentinel.
 *
 * Forms: redis://[user:password@]host[:port][/database], rediss://… (TLS), unix:///path, and
 * redis+sentinel://[user:password@]host:port[,host:port…]/master-name (rediss+sentinel:// with TLS to Redis).
 *
 * Source: spec parameters.md redis_url; LIBRARIES §5.
 */
import type { RedisOptions } from "ioredis";
import { PostmqError } from "@postmq/vocabulary";

const defaultPort = 6379;
const defaultSentinelPort = 26379;

function malformed(why: string): never {
  throw new PostmqError("PMQ_CONFIG_INVALID", `redis_url: ${why}`);
}

function credentials(userInfo: string | undefined): RedisOptions {
  if (userInfo === undefined || userInfo === "") return {};
  const [username = "", ...password] = userInfo.split(":");
  return {
    ...(username === "" ? {} : { username: decodeURIComponent(username) }),
    ...(password.length === 0 ? {} : { password: decodeURIComponent(password.join(":")) }),
  };
}

function hostAndPort(text: string, port: number): { readonly host: string; readonly port: number } {
  const match = /^(?:\[([^\]]+)\]|([^:]+))(?::(\d+))?$/.exec(text);
  const host = match?.[1] ?? match?.[2] ?? malformed(`no host in ${text}`);
  return { host, port: match?.[3] === undefined ? port : Number(match[3]) };
}

/** @throws PMQ_CONFIG_INVALID; the message never shows the password. */
export function redisUrlOptions(redisUrl: string): RedisOptions {
  const match =
    /^(redis|rediss|unix|redis\+unix|redis\+sentinel|rediss\+sentinel):\/\/(?:([^@/]*)@)?([^/?]*)(\/[^?]*)?$/.exec(
      redisUrl,
    );
  if (match === null) return malformed("not a form that postmq knows");
  const [, scheme = "", userInfo, hosts = "", path = ""] = match;
  const common = credentials(userInfo);
  if (scheme.endsWith("unix"))
    return { ...common, path: path === "" ? malformed("no socket path") : path };
  const tls = scheme.startsWith("rediss") ? { tls: {} } : {};
  if (scheme.endsWith("sentinel")) {
    return {
      ...common,
      ...tls,
      sentinels: hosts.split(",").map((host) => hostAndPort(host, defaultSentinelPort)),
      name:
        path === "" || path === "/"
          ? malformed("Sentinel wants the name of the master")
          : path.slice(1),
    };
  }
  const database = path.slice(1);
  if (!/^\d*$/.test(database)) malformed("the database is a number");
  return {
    ...common,
    ...tls,
    ...hostAndPort(hosts, defaultPort),
    ...(database === "" ? {} : { db: Number(database) }),
  };
}
