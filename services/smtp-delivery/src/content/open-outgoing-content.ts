/**
 * The parameters of what is sent, as its parts want them, with the tables and keys that they name opened.
 *
 * Source: spec D17, D21; postconf(5); generic(5).
 */
import type { Parameters } from "@postmq/config";
import { mapAddress } from "@postmq/rewriting";
import { openTables } from "@postmq/tables";
import type { Tables } from "@postmq/tables";

import { DkimKeys } from "./dkim-keys.ts";
import { OutgoingContent } from "./outgoing-content.ts";
import type { OutgoingRules } from "./outgoing-content.ts";
import type { SendChecks } from "./send-checks.ts";

type TableParameter =
  | "smtp_generic_maps"
  | "smtp_header_checks"
  | "smtp_mime_header_checks"
  | "smtp_nested_header_checks"
  | "smtp_body_checks"
  | "dkim_keys";

/**
 * @param onWarning a table or key is not as it should be
 * @throws PMQ_TABLE_UNREADABLE when a table or a key can't be used
 */
export async function openOutgoingContent(
  parameters: Parameters,
  onWarning: (text: string) => void,
): Promise<OutgoingContent> {
  const open = (parameterName: TableParameter) =>
    openTables(parameters[parameterName], { parameterName, onWarning });
  const generic = await open("smtp_generic_maps");
  const checks: SendChecks = {
    headers: {
      primary: await open("smtp_header_checks"),
      mime: await open("smtp_mime_header_checks"),
      nested: await open("smtp_nested_header_checks"),
    },
    body: await open("smtp_body_checks"),
  };
  const checking = [...Object.values(checks.headers), checks.body].filter(isUsed);
  const keys = await open("dkim_keys");
  const changing = [generic, ...checking];
  const rules: OutgoingRules = {
    converts: !parameters.disable_mime_output_conversion,
    limits: {
      nestingLimit: parameters.mime_nesting_limit,
      boundaryBytes: parameters.mime_boundary_length_limit,
      headerBytes: parameters.header_size_limit,
    },
    lineLimit: parameters.smtp_line_length_limit,
    changes: {
      ...(checking.length > 0 ? { checks } : {}),
      ...(isUsed(generic) ? { generic: genericMap(generic, parameters) } : {}),
    },
    ...(isUsed(keys)
      ? {
          signing: {
            keys: new DkimKeys(keys, { onWarning }),
            rules: {
              canonicalization: parameters.dkim_canonicalization,
              signedHeaders: parameters.dkim_signed_headers,
              oversignedHeaders: parameters.dkim_oversigned_headers,
            },
            generation: () => changing.reduce((sum, tables) => sum + tables.generation(), 0),
          },
        }
      : {}),
  };
  return new OutgoingContent(rules);
}

function isUsed(tables: Tables): boolean {
  return !tables.isEmpty;
}

function genericMap(tables: Tables, parameters: Parameters): (address: string) => string {
  const settings = {
    tables,
    myorigin: parameters.myorigin,
    ownDomains: [parameters.myorigin, ...parameters.mydestination],
    recipientDelimiter: parameters.recipient_delimiter,
    propagatesExtension: parameters.propagate_unmatched_extensions.includes("generic"),
  };
  return (address) => mapAddress(address, settings);
}
