/**
 * Ways to take a rule of docs/spec/delivery.md out of the code, each with the tests that must notice. Source: as in
 * rule-mutations.ts.
 */
import type { RuleMutation } from "./rule-mutations.ts";

/** In a file of a service, noticed by the tests beside it unless others are named. */
const inService =
  (sources: string) =>
  (
    rule: string,
    noun: string,
    text: string,
    becomes: string,
    tests: readonly string[] = [noun],
  ): RuleMutation => ({
    rule,
    file: `${sources}/${noun}.ts`,
    text,
    becomes,
    tests: tests.map((name) => `${sources}/${name}.test.ts`),
  });
const of = inService("services/smtp-delivery/src");
const inBounce = inService("services/bounce/src");

const byAttempt = ["attempt/attempt"];
const byJob = ["job/delivery-job"];

export const deliveryMutations: readonly RuleMutation[] = [
  of("D1", "servers/find-servers", "nexthop.isLiteral || !options.looksUpMx", "!options.looksUpMx"),
  of(
    "D1",
    "servers/server-plan",
    '      ...fallbacks.map((nexthop) => ({ nexthop, chosenBy: "smtp_fallback_relay" as const })),\n',
    "",
  ),
  of("D2", "servers/order-addresses", "a.preference - b.preference || ", ""),
  of(
    "D2",
    "servers/find-servers",
    "      if (isNullMx(answer.records)) return noServer(nullMx(domain));\n",
    "",
  ),
  of(
    "D2",
    "servers/find-servers",
    "const worst = trouble ?? telling ?? last;",
    "const worst = last;",
  ),
  of("D3", "servers/find-servers", "preference < self.preference", "preference <= self.preference"),
  of("D3", "servers/server-plan", "if (found.isOurs) this.#at = this.#items.length;", ""),
  of("D4", "servers/order-addresses", "sorted.slice(0, addressLimit)", "sorted"),
  of(
    "D4",
    "attempt/attempt",
    "      if (sessionLimit > 0 && this.#sessions >= sessionLimit) break;\n",
    "",
  ),
  of(
    "D5",
    "servers/server-plan",
    'if (chosenBy === undefined || why.kind === "deferred")',
    "if (true)",
  ),
  of("D6", "attempt/attempt-state", "if (isOpen)", "if (false)", byAttempt),
  of("D6", "attempt/attempt", "    if (fresh.length > 0) this.#tools.record(fresh);\n", ""),
  of(
    "D7",
    "session/reply-verdict",
    "if (digit !== 4 && digit !== 5) {",
    "if (digit !== 4 && digit !== 5 && digit < 0) {",
  ),
  of(
    "D8",
    "session/reply-verdict",
    "isPermanent: digit === 5, status",
    "isPermanent: digit === 5 && reply.code !== 552, status",
  ),
  of("D9", "session/reply-verdict", "(code >= 500 && code <= 509)", "code === 500"),
  of(
    "D10",
    "session/smtp-session",
    "isPositive(reply) ? undefined : reply",
    "undefined",
    byAttempt,
  ),
  of(
    "D11",
    "attempt/attempt",
    '      if (transaction.broken?.stage === "dot" && !this.#isDone) return "over";\n',
    "",
  ),
  of(
    "D12",
    "session/smtp-session",
    "    if (isInvited && !(hasAccepted && isSenderTaken)) await this.#endEmptyMessage(hasAccepted);\n",
    "",
    byJob,
  ),
  of(
    "D13",
    "attempt/attempt-state",
    "const verdict = isSoftBounce ? softened(given) : given;",
    "const verdict = given;",
    byAttempt,
  ),
  of(
    "D14",
    "attempt/status-filter",
    'if (isSuccess !== (outcome.kind === "sent")) {',
    "if (status === undefined) {",
  ),
  of("D15", "session/mail-commands", '" BODY=8BITMIME" : " BODY=7BIT"', '" BODY=8BITMIME" : ""'),
  of(
    "D16",
    "attempt/mail-to-send",
    "limit !== undefined && sizeBytes > limit",
    "limit !== undefined && sizeBytes < 0",
    byAttempt,
  ),
  of("D17", "content/outgoing-content", 'offers.has("8BITMIME") || encoding', "encoding", [
    "attempt/outgoing",
  ]),
  of(
    "D18",
    "attempt/mail-to-send",
    "isWholeMail || hasUtf8(sentAddress(address, mail.outgoing))",
    "isWholeMail",
    byAttempt,
  ),
  of("D18", "attempt/mail-to-send", "envelope.smtputf8 !== true &&", "", byAttempt),
  of("D18", "attempt/mail-to-send", "!hasUtf8(envelope.sender) &&", "", byAttempt),
  of("D19", "session/message-body", "text.charCodeAt(start) === dot", "false"),
  of("D19", "session/message-body", "feed - start > longest", "false"),
  of(
    "D20",
    "session/ehlo-reply",
    "offers.delete(keyword.toUpperCase())",
    "offers.has(keyword.toUpperCase())",
  ),
  of(
    "D20",
    "session/smtp-session",
    'const isPipelined = this.offers.has("PIPELINING");',
    "const isPipelined = true;",
    byJob,
  ),
  of(
    "D21",
    "attempt/mail-to-send",
    "{ ...stored, sender: sentAddress(stored.sender, outgoing) }",
    "stored",
    ["attempt/outgoing"],
  ),
  of(
    "D22",
    "session/opened-session",
    'const isRequired = policy.level !== "may";',
    "const isRequired = false;",
    ["session/starttls"],
  ),
  of(
    "D22",
    "tls/judge-certificate",
    "if (!socket.authorized) return chainProblem(socket, certificate);",
    "",
  ),
  of("D23", "attempt/attempt", "activeMs - arrivalMs >= plainAfterMs", "true", ["tls/tls-matrix"]),
  of("D24", "attempt/tls-line", "`${trust} TLS connection", "`TLS connection", ["tls/tls-matrix"]),
  of("D25", "session/connection-rules", "(always.size > 0 && isNamed(nexthop, always))", "false"),
  of(
    "D26",
    "attempt/attempt",
    "await this.#converse(session, cached !== undefined)",
    "await this.#converse(session, false)",
    byJob,
  ),
  of("D26", "session/smtp-session", ' || broken?.stage === "rset"', "", byJob),
  of(
    "D27",
    "session/smtp-session",
    "(this.tls === undefined || this.tlsPolicy?.mayReuse === true)",
    "true",
    ["session/starttls"],
  ),
  inBounce(
    "D28",
    "who-is-told",
    'policy.notifyClasses.has("bounce") ? policy.bounceNoticeRecipient : undefined',
    "policy.bounceNoticeRecipient",
  ),
  inBounce(
    "D29",
    "who-is-told",
    'if (address === "" || isLocal("mailer-daemon")) return "null";',
    "",
  ),
  inBounce(
    "D30",
    "who-is-told",
    'return notify.includes(kind === "delay" ? "DELAY" : "FAILURE");',
    "return true;",
  ),
  of("D31", "attempt/success-report", "=== true && !facts.offersDsn;", "=== true;"),
  inBounce("D32", "report/returned-content", "<= bounceSizeLimit", "> 0"),
  inBounce("D33", "report/delivery-status", "notice.about.map(", "notice.about.slice(0, 1).map(", [
    "report/compose-report",
  ]),
  of("D33", "attempt/verp-request", "envelope.sender, original)", "envelope.sender, address)"),
  inBounce("D33", "who-is-told", " || !isFailure(event.kind)", ""),
  inBounce("D33", "who-is-told", "policy.hasVerpReports ? verpDelimitersOf(envelope) : ", ""),
  inBounce("D33", "report-message", "(isFull && !isOfSame)", "isFull"),
  inBounce(
    "D33",
    "report-message",
    "await reporting.queuePart(left, toldOf(act), messages)",
    "await reporting.queue(left, messages)",
  ),
  inBounce("D34", "prepare-notice", 'queue: "incoming"', 'queue: "hold"', ["report-message"]),
];
