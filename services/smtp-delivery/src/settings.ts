/** The parameters of delivery, as its parts want them. Source: spec delivery.md §4; postconf(5). */
import type { Parameters } from "@postmq/config";

import { openTables } from "@postmq/tables";

import type { AttemptSettings } from "./attempt/attempt.ts";
import { statusFilter } from "./attempt/status-filter.ts";
import type { StatusFilter } from "./attempt/status-filter.ts";
import type { CacheSettings } from "./session/connection-cache.ts";
import { openSessionSettings } from "./session/session-settings.ts";
import type { MailResolver } from "./servers/resolver.ts";
import { openPlanSettings } from "./servers/server-settings.ts";

/** What attempts go by, with its tables opened. @throws PMQ_TABLE_UNREADABLE */
export async function openAttemptSettings(
  parameters: Parameters,
  parts: { readonly resolver: MailResolver; readonly onWarning: (text: string) => void },
): Promise<AttemptSettings> {
  const { resolver } = parts;
  return {
    outcomes: {
      softBounce: parameters.soft_bounce,
      statusFilter: await openStatusFilter(parameters.smtp_delivery_status_filter, parts.onWarning),
    },
    confirmDelayCleared: parameters.confirm_delay_cleared,
    lmtpAssumeFinal: parameters.lmtp_assume_final,
    session: await openSessionSettings(parameters, parts.onWarning),
    find: (await openPlanSettings(parameters, resolver)).find,
    connectTimeoutMs: parameters.smtp_connect_timeout,
    bindAddress: parameters.smtp_bind_address,
    sessionLimit: parameters.smtp_mx_session_limit,
    relayhost: parameters.relayhost,
  };
}

async function openStatusFilter(
  specs: readonly string[],
  onWarning: (text: string) => void,
): Promise<StatusFilter | undefined> {
  const parameterName = "smtp_delivery_status_filter";
  const tables = await openTables(specs, { parameterName, onWarning });
  return tables.isEmpty ? undefined : statusFilter((key) => tables.lookup(key), onWarning);
}

export function cacheSettings(parameters: Parameters): CacheSettings {
  return {
    idleMs: parameters.smtp_connection_cache_time_limit,
    reuseMs: parameters.smtp_connection_reuse_time_limit,
    reuseCount: parameters.smtp_connection_reuse_count_limit,
  };
}
