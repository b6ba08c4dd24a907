/**
 * A token for the HTTP API: prints the line for the file `api_tokens`, and the token itself on standard error.
 *
 *   node docker/make-token.ts <name> <scope,scope…> [sender,sender…] >>docker/secrets/api_tokens
 */
import { apiScopes, makeToken } from "@postmq/service-kit";

const [name, scopes = "", senders = "*"] = process.argv.slice(2);
const wanted = apiScopes.filter((scope) => scopes.split(",").includes(scope));
if (name === undefined || wanted.length !== scopes.split(",").length) {
  console.error(
    `usage: node docker/make-token.ts name scope,… [sender,…]; scopes: ${apiScopes.join(", ")}`,
  );
  process.exitCode = 64;
} else {
  const { token, line } = await makeToken({ name, scopes: wanted, senders: senders.split(",") });
  console.log(line);
  console.error(`token: ${token}`);
}
