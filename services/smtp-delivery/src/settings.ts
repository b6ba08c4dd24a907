/** The parameters of delivery, as its parts want them. Source: spec delivery.md §4; postconf(5). */
import { parseTransports } from "@postmq/config";
import type { Parameters } from "@postmq/config";
import { lookupSender } from "@postmq/routing";
import { openTables } from "@postmq/tables";

import type { AttemptSettings } from "./attempt/attempt.ts";
import { statusFilter } from "./attempt/status-filter.ts";
import type { StatusFilter } from "./attempt/status-filter.ts";
import { openOutgoingContent } from "./content/open-outgoing-content.ts";
import type { CacheSettings } from "./session/connection-cache.ts";
import { openLogins } from "./session/sasl-credentials.ts";
import { openSessionSettings } from "./session/session-settings.ts";
import { sourceAddresses } from "./session/source-address.ts";
import type { MailResolver } from "@postmq/dns";
import type { ServerProtocol } from "./servers/server-plan.ts";
import { openPlanSettings } from "./servers/server-settings.ts";
import { openTlsPolicies } from "./tls/open-tls-policies.ts";
import { tlsSettings } from "./tls/tls-settings.ts";

/**
 * What attempts go by, with its tables and files opened.
 *
 * @throws PMQ_TABLE_UNREADABLE, PMQ_CONFIG_INVALID for files and settings of TLS that can't be used
 */
export async function openAttemptSettings(
  parameters: Parameters,
  parts: {
    readonly resolver: MailResolver;
    readonly onWarning: (text: string) => void;
    readonly onInfo: (text: string) => void;
  },
): Promise<AttemptSettings> {
  const { resolver } = parts;
  const tls = tlsSettings(parameters);
  return {
    outgoing: await openOutgoingContent(parameters, parts.onWarning),
    outcomes: {
      softBounce: parameters.soft_bounce,
      statusFilter: await openStatusFilter(parameters.smtp_delivery_status_filter, parts.onWarning),
    },
    confirmDelayCleared: parameters.confirm_delay_cleared,
    lmtpAssumeFinal: parameters.lmtp_assume_final,
    session: await openSessionSettings(parameters, parts.onWarning),
    plan: await openPlanSettings(parameters, resolver),
    relayhostsFor: await openRelayhosts(parameters, parts.onWarning),
    protocolOf: protocolOf(parameters),
    connectTimeoutMs: parameters.smtp_connect_timeout,
    attemptLimitMs: parameters.daemon_timeout / 2,
    sourceFor: sourceAddresses(parameters),
    security: {
      tls: await openTlsPolicies(tls, parts),
      logsTls: tls.logsSessions,
      plainAfterMs: parameters.minimal_backoff_time,
      logins: await openLogins(parameters, parts.onWarning),
      ownNames: new Set([parameters.myhostname.toLowerCase()]),
    },
    sessionLimit: parameters.smtp_mx_session_limit,
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

/** The relay host of all mail, and the one of this sender's. Source: spec D5. */
async function openRelayhosts(
  parameters: Parameters,
  onTrouble: (text: string) => void,
): Promise<(sender: string) => readonly string[]> {
  const parameterName = "sender_dependent_relayhost_maps";
  const { relayhost, recipient_delimiter: recipientDelimiter, myorigin } = parameters;
  const table = await openTables(parameters[parameterName], {
    parameterName,
    onWarning: onTrouble,
  });
  if (table.isEmpty) return () => [relayhost];
  const local = new Set(parameters.mydestination.map((domain) => domain.toLowerCase()));
  const lookup = { table, parameterName, recipientDelimiter, myorigin, local, onTrouble };
  return (sender) => [relayhost, lookupSender(sender, lookup) ?? ""];
}

function protocolOf(parameters: Parameters): (transport: string) => ServerProtocol {
  const kinds = parseTransports(parameters);
  return (transport) => kinds.get(transport) ?? "smtp";
}

export function cacheSettings(parameters: Parameters): CacheSettings {
  return {
    idleMs: parameters.smtp_connection_cache_time_limit,
    reuseMs: parameters.smtp_connection_reuse_time_limit,
    reuseCount: parameters.smtp_connection_reuse_count_limit,
  };
}
