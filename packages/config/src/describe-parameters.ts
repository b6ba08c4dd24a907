/**
 * docs/PARAMETERS.md, made from the table.
 *
 * `scripts/write-parameters.ts` writes the file; a test fails when it lags.
 *
 * Source: STYLE §7.
 */
import { environmentName } from "./environment.ts";
import type { ParameterRow } from "./parameter-kinds.ts";
import { parameterTable } from "./parameters.ts";

const introduction = `# Parameters

Made from \`packages/config/src/parameters.ts\` by \`scripts/write-parameters.ts\`; do not edit.

Names are Postfix's, and so are defaults unless the source says otherwise. A value comes from the environment
(\`POSTMQ_<NAME IN CAPITALS>\`, or \`POSTMQ_<NAME>_FILE\` with the name of a file that holds it), else from the file
\`main.cf\` (\`POSTMQ_CONFIG\`, else \`/etc/postmq/main.cf\`), else it is the default. \`$name\`, \`\${name?yes}\` and
\`\${name:no}\` expand as in Postfix. Times are a number and one of s, m, h, d, w. Lists are separated by commas or
spaces. A relative path begins at the directory of main.cf.

A parameter of Postfix's that is not listed here is taken with a warning that it has no effect; so is one that is
listed as read by nobody yet. A name that neither Postfix nor postmq knows, and a wrong value, stop the daemon at
start. With *per transport*, \`<transport>_<name without default_>\` overrides it for one transport:
\`slow_destination_concurrency_limit\`.
`;

/** The whole of docs/PARAMETERS.md. */
export function describeParameters(): string {
  const rows = Object.entries<ParameterRow<unknown>>(parameterTable);
  return [introduction, ...rows.map(([name, row]) => describe(name, row))].join("\n");
}

function describe(name: string, row: ParameterRow<unknown>): string {
  const byDefault = typeof row.default === "string" ? code(row.default) : row.default.shown;
  const facts = [
    `- Default: ${byDefault}`,
    `- Kind: ${row.kind}${row.bounds === "" ? "" : `; ${row.bounds}`}${row.isPerTransport ? "; per transport" : ""}`,
    `- Environment: \`${environmentName(name)}\``,
    `- Read by: ${row.readBy.length === 0 ? "nobody yet" : row.readBy.join(", ")}`,
    `- Source: ${row.source}`,
  ];
  return `## ${name}\n\n${row.about}\n\n${facts.join("\n")}\n`;
}

function code(value: string): string {
  return value === "" ? "empty" : `\`${value}\``;
}
