/**
 * The one table of parameters: a row is the whole truth about one.
 *
 * Names and defaults are Postfix's unless the row's source says "postmq". Documents, environment names and the
 * postconf command come from this table; no default is written anywhere else. A row whose `readBy` is empty belongs
 * to postmq but is read by nobody yet: setting it warns. A name of Postfix's that has no row here warns as well
 * (postfix-parameter-names.txt); a name that neither knows is refused.
 *
 * Source: postconf(5) of Postfix 3.7; spec parameters.md; DESIGN §7.
 */
import { isIP, isIPv6 } from "node:net";

import { serviceNames } from "@postmq/vocabulary";

import {
  BadValue,
  count,
  feedback,
  ipAddress,
  list,
  listen,
  oneOf,
  parameterReaders,
  path,
  secretUrl,
  share,
  size,
  text,
  time,
  weights,
  yesNo,
} from "./parameter-kinds.ts";
import type { ComputedDefault, ParameterRow } from "./parameter-kinds.ts";

/** Ports of `metrics_listen` on one machine. Source: DESIGN §7. */
const metricsPorts: Readonly<Record<string, number>> = {
  pickup: 9151,
  smtpd: 9152,
  cleanup: 9153,
  showq: 9154,
  qmgr: 9155,
  "smtp-delivery": 9156,
  bounce: 9157,
};

const metricsListenDefault: ComputedDefault = {
  shown:
    "127.0.0.1 and a port per service: pickup 9151, smtpd 9152, cleanup 9153, showq 9154, qmgr 9155, " +
    "smtp-delivery 9156, bounce 9157",
  compute: ({ service }) => {
    const port = service === undefined ? undefined : metricsPorts[service];
    return port === undefined ? "" : `127.0.0.1:${port}`;
  },
};

/** Source: postconf(5) myhostname; Postfix src/global/mail_params.c check_myhostname. */
const myhostnameDefault: ComputedDefault = {
  shown: "this host's name; without a dot, $mydomain (or localdomain) is appended",
  compute: ({ hostName }, isSet) => {
    if (hostName.includes(".")) return hostName;
    return isSet("mydomain") ? `${hostName}.$mydomain` : `${hostName}.localdomain`;
  },
};

/** Source: postconf(5) mydomain. */
const mydomainDefault: ComputedDefault = {
  shown: "$myhostname without its first label",
  compute: (_surroundings, _isSet, valueOf) => {
    const name = valueOf("myhostname");
    const dot = name.indexOf(".");
    return dot < 0 ? "localdomain" : name.slice(dot + 1);
  },
};

/** Source: postconf(5) mynetworks, mynetworks_style = host. */
const mynetworksDefault: ComputedDefault = {
  shown: "this host's own addresses",
  compute: ({ interfaceAddresses }) =>
    interfaceAddresses
      .map((address) => (address.includes(":") ? `[${address}]/128` : `${address}/32`))
      .join(" "),
};

const hostNameForm = {
  pattern: /^[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,253}[A-Za-z0-9_])?$/,
  saying: "a host name",
};

const nexthopListForm = {
  pattern: /^(?:(?:\[[^[\]\s,]+\]|[\w.-]+)(?::[\w-]+)?(?:[\s,]+|$))*$/,
  saying: "host, host:port, [host] or [host]:port, or a list of them",
};

const networkBounds = "addresses, net/length without host bits, !exclusions, files of such";

const relayRestrictions = [
  "permit_mynetworks",
  "permit_sasl_authenticated",
  "permit_auth_destination",
  "reject_unauth_destination",
  "defer_unauth_destination",
  "reject",
  "defer",
] as const;

const relayGuards: readonly string[] = [
  "reject_unauth_destination",
  "defer_unauth_destination",
  "reject",
  "defer",
];

/** Source: postconf(5) smtpd_relay_restrictions: a list without a guard is refused, lest it be an open relay. */
function checkRelayRestrictions(items: readonly string[]): void {
  const unknown = items.find((item) => !relayRestrictions.some((known) => known === item));
  if (unknown !== undefined) {
    throw new BadValue(`"${unknown}" is not supported; these are: ${relayRestrictions.join(", ")}`);
  }
  if (!items.some((item) => relayGuards.includes(item))) {
    throw new BadValue(`at least one of ${relayGuards.join(", ")} must be in it`);
  }
}

/** Source: dns_servers, the one parameter that takes these. */
function checkDnsServers(items: readonly string[]): void {
  const bad = items.find((item) => {
    const port = Number(/^(?:\[[^\]]*\]|[^:]*):(\d{1,5})$/.exec(item)?.[1] ?? "53");
    const address = isIPv6(item) ? item : item.replace(/:\d{1,5}$/, "").replace(/^\[(.*)\]$/, "$1");
    return isIP(address) === 0 || port < 1 || port > 65_535;
  });
  if (bad !== undefined) throw new BadValue(`"${bad}" is not an address or address:port`);
}

/** A check that every item is one of a few words. */
function wordsOf(...words: readonly string[]): (items: readonly string[]) => void {
  return (items) => {
    const bad = items.find((item) => !words.includes(item.toLowerCase()));
    if (bad !== undefined || items.length === 0)
      throw new BadValue(`it must be made of: ${words.join(", ")}`);
  };
}

function checkTransports(items: readonly string[]): void {
  const bad = items.find((item) => !/^[a-z0-9][a-z0-9-]*(?::(?:smtp|lmtp))?$/.test(item));
  if (bad !== undefined)
    throw new BadValue(`"${bad}" is not name or name:kind (kinds: smtp, lmtp)`);
}

function checkHeaderNames(items: readonly string[]): void {
  const bad = items.find((item) => !/^[!-9;-~]{1,100}$/.test(item));
  if (bad !== undefined) throw new BadValue(`"${bad}" is not the name of a header`);
}

function checkSignedHeaders(items: readonly string[]): void {
  checkHeaderNames(items);
  if (!items.some((item) => item.toLowerCase() === "from"))
    throw new BadValue("From must be in it");
}

/** Source: postconf(5) notify_classes. */
const noticeClasses = [
  "bounce",
  "2bounce",
  "data",
  "delay",
  "policy",
  "protocol",
  "resource",
  "software",
] as const;

function checkNoticeClasses(items: readonly string[]): void {
  const unknown = items.find(
    (item) => !noticeClasses.some((known) => known === item.toLowerCase()),
  );
  if (unknown !== undefined) {
    throw new BadValue(`"${unknown}" is no class; these are: ${noticeClasses.join(", ")}`);
  }
}

const noticeRecipientForm = {
  pattern: /^[^\s<>,;]{1,320}$/,
  saying: "one address, with or without a domain",
};

/** Source: postconf(5) smtp_sasl_security_options. */
const saslOptions = [
  "noplaintext",
  "noactive",
  "nodictionary",
  "noanonymous",
  "mutual_auth",
  "forward_secrecy",
] as const;

function checkSaslOptions(items: readonly string[]): void {
  const bad = items.find((item) => !saslOptions.some((option) => option === item.toLowerCase()));
  if (bad !== undefined) throw new BadValue(`"${bad}" is not one of ${saslOptions.join(", ")}`);
}

const tlsLevelNames = ["none", "may", "encrypt", "fingerprint", "verify", "secure"];

/** Source: postconf(5) smtp_tls_security_level. */
function parseTlsLevel(value: string): string {
  const level = value.toLowerCase();
  if (/^(?:half-)?dane(?:-only)?$/.test(level))
    throw new BadValue("DANE is not there: no DNS answer can be told to be signed");
  if (level !== "" && !tlsLevelNames.includes(level))
    throw new BadValue(`it must be empty or one of ${tlsLevelNames.join(", ")}`);
  return level;
}

/** Source: postconf(5) smtp_tls_protocols. */
const tlsProtocolsForm = {
  pattern:
    /^(?:[\s,:]|(?:>=|<=|!)?(?:SSLv[23]|TLSv1(?:\.[0-3])?)(?=[\s,:]|$)|[<>]=0?x?0?30[0-4](?=[\s,:]|$))*$/i,
  saying: "protocols such as >=TLSv1.2, <=TLSv1.3 or !TLSv1",
};

/** Source: postconf(5) smtp_tls_mandatory_ciphers; Departs: null, which encrypts nothing, is refused. */
const tlsCipherGrades = ["high", "medium", "low", "export"] as const;

export const parameterTable = {
  // ------------------------------------------------------------------------------------ this mail system

  myhostname: text({
    default: myhostnameDefault,
    form: hostNameForm,
    readBy: ["smtpd", "pickup", "cleanup", "smtp-delivery", "bounce", "qmgr", "commands"],
    source: "postconf(5)",
    about: "Name of this mail system, in the greeting, in Received and in reports.",
  }),
  mydomain: text({
    default: mydomainDefault,
    form: hostNameForm,
    readBy: ["qmgr", "smtpd", "bounce"],
    source: "postconf(5)",
    about: "Domain of this mail system.",
  }),
  myorigin: text({
    default: "$myhostname",
    form: hostNameForm,
    readBy: ["smtpd", "pickup", "cleanup", "bounce", "qmgr", "commands", "showq", "smtp-delivery"],
    source: "postconf(5)",
    about: "Domain appended to an address that has none.",
  }),
  mydestination: list({
    default: "",
    readBy: ["qmgr", "smtpd", "showq", "smtp-delivery"],
    source: "postconf(5); Departs: empty, since postmq delivers to no local mailbox",
    about: "Domains of the local class: mail for them goes to local_transport.",
  }),
  relay_domains: list({
    default: "",
    readBy: ["qmgr", "smtpd", "showq"],
    source: "postconf(5)",
    about:
      "Domains of the relay class: mail for them is taken from anybody and goes to relay_transport.",
  }),
  mynetworks: list({
    default: mynetworksDefault,
    bounds: networkBounds,
    readBy: ["smtpd"],
    source: "postconf(5), mynetworks_style = host; spec V23",
    about: "Clients that may relay. In containers it must name the clients.",
  }),
  mail_name: text({
    default: "postmq",
    readBy: ["smtpd", "pickup", "cleanup", "bounce", "smtp-delivery"],
    source: 'postconf(5); Departs: "Postfix" there',
    about: "Name of the mail system in the greeting and in Received.",
  }),
  recipient_delimiter: text({
    default: "",
    readBy: ["qmgr", "smtp-delivery", "showq"],
    source: "postconf(5)",
    about: "Characters that separate a user name from its extension in table look-ups.",
  }),
  empty_address_recipient: text({
    default: "MAILER-DAEMON",
    readBy: ["qmgr", "bounce", "showq", "commands", "smtp-delivery"],
    source: "postconf(5)",
    about: "Stands in for the null address where a recipient is needed.",
  }),
  enable_long_queue_ids: yesNo({
    default: "yes",
    readBy: [],
    source: "postconf(5); Departs: yes here, and nothing else is offered",
    about: "Queue ids in the long form, never reused.",
  }),
  soft_bounce: yesNo({
    default: "no",
    readBy: ["smtpd", "qmgr", "smtp-delivery"],
    source: "postconf(5)",
    about: "Turns 5xx into 4xx: nothing is refused or returned for good.",
  }),
  syslog_name: text({
    default: "postmq",
    form: { pattern: /^[A-Za-z0-9_./-]{1,64}$/, saying: "a short word" },
    readBy: parameterReaders,
    source: "postconf(5); Departs: postmq here; set postfix for old log tools",
    about: "Prefix of log lines.",
  }),
  log_format: oneOf(["postfix", "json"], {
    default: "postfix",
    readBy: parameterReaders,
    source: "postmq",
    about:
      "How a log line looks: as Postfix writes it, or a JSON object whose members are the same fields.",
  }),

  // -------------------------------------------------------------------------------------------- routing

  relayhost: text({
    default: "",
    form: nexthopListForm,
    readBy: ["qmgr", "smtp-delivery", "showq"],
    source: "postconf(5)",
    about: "Next hop of mail for the relay and default classes: host, [host] or [host]:port.",
  }),
  sender_dependent_relayhost_maps: list({
    default: "",
    bounds: "tables, type:name",
    readBy: ["qmgr", "showq", "smtp-delivery"],
    source: "postconf(5); spec R22",
    about: "Tables that give the next hop by sender (user@domain, @domain, <>), over relayhost.",
  }),
  sender_dependent_default_transport_maps: list({
    default: "",
    bounds: "tables, type:name",
    readBy: ["qmgr", "showq"],
    source: "postconf(5); spec R22",
    about: "Tables that give transport:nexthop of the default class by sender.",
  }),
  transport_maps: list({
    default: "",
    bounds: "tables, type:name",
    readBy: ["qmgr", "showq"],
    source: "postconf(5), transport(5)",
    about: "Tables that give transport:nexthop by recipient.",
  }),
  default_transport: text({
    default: "smtp",
    readBy: ["qmgr", "showq"],
    source: "postconf(5)",
    about: "transport:nexthop of the default class.",
  }),
  relay_transport: text({
    default: "relay",
    readBy: ["qmgr", "showq"],
    source: "postconf(5)",
    about: "transport:nexthop of the relay class.",
  }),
  local_transport: text({
    default: "error:5.1.1 no local mailboxes here",
    readBy: ["qmgr", "showq"],
    source: "postconf(5); Departs: local:$myhostname there",
    about: "transport:nexthop of the local class.",
  }),
  transports: list({
    default: "smtp, relay:smtp, lmtp, slow:smtp",
    bounds: "name or name:kind, kinds smtp and lmtp",
    check: checkTransports,
    readBy: ["qmgr", "showq", "smtp-delivery"],
    source: "postmq; stands for master(5)",
    about: "Delivery transports.",
  }),

  // ------------------------------------------------------------------------------------------ scheduling

  minimal_backoff_time: time({
    default: "300s",
    min: "1s",
    readBy: ["qmgr", "smtp-delivery"],
    source: "postconf(5); spec S5",
    about: "Shortest rest between two attempts to deliver a deferred message.",
  }),
  maximal_backoff_time: time({
    default: "4000s",
    min: "1s",
    readBy: ["qmgr"],
    source: "postconf(5); spec S5",
    about: "Longest rest between two attempts to deliver a deferred message.",
  }),
  maximal_queue_lifetime: time({
    default: "5d",
    unit: "d",
    max: "8640000s",
    readBy: ["qmgr", "bounce"],
    source: "postconf(5)",
    about: "Age after which a failed attempt returns a message to its sender; 0: one try.",
  }),
  bounce_queue_lifetime: time({
    default: "5d",
    unit: "d",
    max: "8640000s",
    readBy: ["qmgr"],
    source: "postconf(5)",
    about: "The same for messages with the null sender; never more than maximal_queue_lifetime.",
  }),
  queue_run_delay: time({
    default: "300s",
    min: "1s",
    readBy: ["qmgr"],
    source: "postconf(5); Departs: no pass is waited for; spec S6",
    about:
      "Period of the full pass over deferred that finds what was missed; a message is tried when it is due.",
  }),
  qmgr_message_active_limit: count({
    default: "20000",
    min: 1,
    readBy: ["qmgr"],
    source: "postconf(5); spec S1",
    about: "Messages in the active queue at most.",
  }),
  qmgr_message_recipient_limit: count({
    default: "20000",
    min: 1,
    readBy: ["qmgr"],
    source: "postconf(5)",
    about: "Recipients that the scheduler holds in memory at most.",
  }),
  qmgr_message_recipient_minimum: count({
    default: "10",
    min: 1,
    readBy: ["qmgr"],
    source: "postconf(5); spec S4",
    about: "Recipients of any message that are always read, however many are in memory.",
  }),
  default_recipient_limit: count({
    default: "20000",
    isPerTransport: true,
    readBy: ["qmgr"],
    source: "postconf(5)",
    about: "Recipients of a transport's messages in memory at most.",
  }),
  default_extra_recipient_limit: count({
    default: "1000",
    isPerTransport: true,
    readBy: ["qmgr"],
    source: "postconf(5)",
    about: "Recipients beyond default_recipient_limit, for messages that overtake others.",
  }),
  default_recipient_refill_limit: count({
    default: "100",
    min: 1,
    isPerTransport: true,
    readBy: ["qmgr"],
    source: "postconf(5)",
    about: "More of a message's recipients are read when there is room for this many.",
  }),
  default_recipient_refill_delay: time({
    default: "5s",
    min: "1s",
    isPerTransport: true,
    readBy: ["qmgr"],
    source: "postconf(5)",
    about: "More of a message's recipients are read after this time, if there is room for any.",
  }),
  default_destination_concurrency_limit: count({
    default: "20",
    isPerTransport: true,
    readBy: ["qmgr", "smtp-delivery"],
    source: "postconf(5); spec S23",
    about: "Deliveries to one destination at once at most; 0: no limit.",
  }),
  initial_destination_concurrency: count({
    default: "5",
    min: 1,
    isPerTransport: true,
    readBy: ["qmgr"],
    source: "postconf(5); spec S23",
    about: "Deliveries to one destination at once to begin with.",
  }),
  default_destination_concurrency_positive_feedback: feedback({
    default: "1",
    isPerTransport: true,
    readBy: ["qmgr"],
    source: "postconf(5); spec S27",
    about: "How much a delivery without trouble of the site widens the destination's window.",
  }),
  default_destination_concurrency_negative_feedback: feedback({
    default: "1",
    isPerTransport: true,
    readBy: ["qmgr"],
    source: "postconf(5); spec S27",
    about: "How much a delivery that met trouble of the site narrows the destination's window.",
  }),
  default_destination_concurrency_failed_cohort_limit: count({
    default: "1",
    isPerTransport: true,
    readBy: ["qmgr"],
    source: "postconf(5); spec S26",
    about:
      "Windows full of failures in a row after which a destination counts as dead; 0: never dead.",
  }),
  default_destination_recipient_limit: count({
    default: "50",
    isPerTransport: true,
    readBy: ["qmgr", "smtp-delivery", "showq"],
    source: "postconf(5); spec S17",
    about:
      "Recipients in one delivery request at most; 0: no limit; 1: limits hold per recipient, not per domain.",
  }),
  default_destination_rate_delay: time({
    default: "0s",
    isPerTransport: true,
    readBy: ["qmgr", "smtp-delivery"],
    source: "postconf(5); spec S30",
    about: "Rest of a destination after each delivery, which then go one at a time; 0: none.",
  }),
  default_transport_rate_delay: time({
    default: "0s",
    isPerTransport: true,
    readBy: ["qmgr"],
    source: "postconf(5); spec S30",
    about: "Rest of a whole transport after each delivery, whatever the destination; 0: none.",
  }),
  default_delivery_slot_cost: count({
    default: "5",
    isPerTransport: true,
    readBy: ["qmgr"],
    source: "postconf(5); spec S21",
    about: "Deliveries of a message that let one of another overtake it; 0 or 1: none overtakes.",
  }),
  default_delivery_slot_loan: count({
    default: "3",
    isPerTransport: true,
    readBy: ["qmgr"],
    source: "postconf(5); spec S21",
    about: "Slots that a message may have in advance, to overtake earlier.",
  }),
  default_delivery_slot_discount: count({
    default: "50",
    max: 100,
    isPerTransport: true,
    readBy: ["qmgr"],
    source: "postconf(5); spec S21",
    about: "Percent of the slots that a message needs no more to overtake.",
  }),
  default_minimum_delivery_slots: count({
    default: "3",
    isPerTransport: true,
    readBy: ["qmgr"],
    source: "postconf(5); spec S21",
    about: "A message that can't earn this many slots is never overtaken.",
  }),
  transport_retry_time: time({
    default: "60s",
    min: "1s",
    readBy: ["qmgr"],
    source: "postconf(5); spec S35",
    about: "Rest of a transport that could not be used.",
  }),
  defer_transports: list({
    default: "",
    readBy: ["qmgr", "showq"],
    source: "postconf(5); spec S36",
    about: "Transports whose mail stays deferred until it is flushed.",
  }),
  delay_warning_time: time({
    default: "0h",
    unit: "h",
    readBy: ["qmgr", "bounce", "commands"],
    source: "postconf(5); spec S13",
    about: "Age at which the sender is told that a message is still in the queue; 0: never.",
  }),
  confirm_delay_cleared: yesNo({
    default: "no",
    readBy: ["smtp-delivery"],
    source: "postconf(5); spec S13",
    about: "A sender who was warned of a delay is told when the message got through.",
  }),
  qmgr_clog_warn_time: time({
    default: "300s",
    readBy: ["qmgr"],
    source: "postconf(5); spec S31",
    about: "Shortest time between two warnings that one destination fills active; 0: no warnings.",
  }),
  daemon_timeout: time({
    default: "18000s",
    min: "1s",
    readBy: ["smtp-delivery"],
    source: "postconf(5); spec S35",
    about: "Longest time that a delivery may take; no server is waited for beyond half of it.",
  }),
  destination_concurrency_feedback_debug: yesNo({
    default: "no",
    readBy: ["qmgr"],
    source: "postconf(5)",
    about: "Logs how the windows of destinations change.",
  }),
  default_process_limit: count({
    default: "100",
    min: 1,
    readBy: [...serviceNames],
    source: "postconf(5); spec S33; Departs: starts no processes",
    about: "Messages that may come in ahead of the scheduler before in_flow_delay slows intake.",
  }),
  in_flow_delay: time({
    default: "1s",
    max: "10s",
    readBy: ["smtpd", "cleanup"],
    source: "postconf(5); spec S33",
    about:
      "How long a new message waits at most while the scheduler is behind with new mail; 0: not at all.",
  }),
  fast_flush_domains: list({
    default: "$relay_domains",
    readBy: ["commands"],
    source: "postconf(5)",
    about: "Domains whose mail can be flushed with `postqueue -s`.",
  }),

  // --------------------------------------------------------------------------------------------- content

  message_size_limit: size({
    default: "10240000",
    readBy: ["smtpd", "pickup", "cleanup", "commands"],
    source: "postconf(5)",
    about: "Largest message in bytes; 0: no limit.",
  }),
  header_size_limit: size({
    default: "102400",
    min: 1,
    readBy: ["smtpd", "cleanup", "smtp-delivery"],
    source: "postconf(5)",
    about: "Bytes of one header at most; the rest of it is dropped.",
  }),
  line_length_limit: size({
    default: "2048",
    min: 512,
    readBy: ["smtpd"],
    source: "postconf(5)",
    about: "Longest SMTP command line in bytes.",
  }),
  hopcount_limit: count({
    default: "50",
    min: 1,
    readBy: ["smtpd", "cleanup"],
    source: "postconf(5)",
    about: "Received headers at most; a message with more is looping and is refused.",
  }),
  duplicate_filter_limit: count({
    default: "1000",
    readBy: ["smtpd", "cleanup"],
    source: "postconf(5); spec R15",
    about: "Recipients remembered for dropping duplicates; 0: no limit.",
  }),
  message_drop_headers: list({
    default: "bcc, content-length, resent-bcc, return-path",
    readBy: ["smtpd", "cleanup"],
    source: "postconf(5); spec R4",
    about: "Headers removed from every message.",
  }),
  undisclosed_recipients_header: text({
    default: "",
    readBy: ["smtpd", "cleanup"],
    source: "postconf(5)",
    about: "Header added to a message that names no recipient.",
  }),

  // ------------------------------------------------------------------------------------------------ smtpd

  smtpd_listen: listen({
    default: "127.0.0.1:2525",
    readBy: ["smtpd"],
    source: "postmq; stands for master(5)",
    about: "Where the SMTP server listens.",
  }),
  smtpd_banner: text({
    default: "$myhostname ESMTP $mail_name",
    readBy: ["smtpd"],
    source: "postconf(5)",
    about: "Text after 220 in the greeting.",
  }),
  smtpd_timeout: time({
    default: "300s",
    min: "1s",
    readBy: ["smtpd"],
    source: "postconf(5)",
    about: "How long the server waits for a client.",
  }),
  smtpd_recipient_limit: count({
    default: "1000",
    min: 1,
    readBy: ["smtpd"],
    source: "postconf(5)",
    about: "Recipients of one message at most.",
  }),
  smtpd_recipient_overshoot_limit: count({
    default: "1000",
    min: 1,
    readBy: ["smtpd"],
    source: "postconf(5)",
    about:
      "Recipients beyond smtpd_recipient_limit that are refused before each counts as an error.",
  }),
  smtpd_soft_error_limit: count({
    default: "10",
    min: 1,
    readBy: ["smtpd"],
    source: "postconf(5)",
    about: "Errors after which replies to errors are delayed.",
  }),
  smtpd_hard_error_limit: count({
    default: "20",
    min: 1,
    readBy: ["smtpd"],
    source: "postconf(5)",
    about: "Errors after which the session ends.",
  }),
  smtpd_error_sleep_time: time({
    default: "1s",
    readBy: ["smtpd"],
    source: "postconf(5)",
    about: "Delay of a reply after smtpd_soft_error_limit errors.",
  }),
  smtpd_junk_command_limit: count({
    default: "100",
    min: 1,
    readBy: ["smtpd"],
    source: "postconf(5)",
    about: "NOOP, VRFY, RSET and the like before each counts as an error.",
  }),
  smtpd_helo_required: yesNo({
    default: "no",
    readBy: ["smtpd"],
    source: "postconf(5)",
    about: "MAIL needs HELO or EHLO before it.",
  }),
  smtpd_relay_restrictions: list({
    default: "permit_mynetworks, permit_sasl_authenticated, defer_unauth_destination",
    bounds: relayRestrictions.join(", "),
    check: checkRelayRestrictions,
    readBy: ["smtpd"],
    source: "postconf(5); Departs: only these restrictions",
    about: "Who may send to where; the first that decides wins.",
  }),
  smtpd_authorized_verp_clients: list({
    default: "",
    bounds: networkBounds,
    readBy: ["smtpd"],
    source:
      "postconf(5), VERP_README; Departs: no names of clients, no tables, no authorized_verp_clients",
    about: "Clients that may ask by XVERP for a sender of its own for each recipient.",
  }),
  default_verp_delimiters: text({
    default: "+=",
    form: { pattern: /^[!-~]{2}$/, saying: "two characters of verp_delimiter_filter" },
    readBy: ["smtpd", "pickup", "commands"],
    source: "postconf(5), VERP_README; spec D33",
    about:
      "What stands round the recipient's name in a sender, where the client names nothing else.",
  }),
  verp_delimiter_filter: text({
    default: "-=+",
    form: { pattern: /^[!-~]+$/, saying: "one or more printable characters" },
    readBy: ["smtpd", "pickup", "cleanup", "commands"],
    source: "postconf(5), VERP_README",
    about: "Characters that may be VERP delimiters.",
  }),
  smtpd_forbid_bare_newline: oneOf(["no", "normalize", "reject"], {
    default: "normalize",
    readBy: ["smtpd"],
    source: "postconf(5) of 3.9; Departs: normalize here; spec security.md 1",
    about: "Lines that end in LF alone: taken as they are, made CRLF, or refused.",
  }),
  smtpd_forbid_unauth_pipelining: yesNo({
    default: "yes",
    readBy: ["smtpd"],
    source: "postconf(5) of 3.9; Departs: yes here",
    about: "Ends the session of a client that talks before its turn.",
  }),

  // --------------------------------------------------------------------------------------- smtp-delivery

  smtp_delivery_concurrency: count({
    default: "50",
    min: 1,
    max: 1000,
    readBy: ["smtp-delivery"],
    source: "postmq",
    about: "Deliveries that one worker process runs at once.",
  }),
  smtp_connect_timeout: time({
    default: "30s",
    readBy: ["smtp-delivery"],
    source: "postconf(5)",
    about: "Time for a TCP connection; 0: the system's.",
  }),
  smtp_helo_timeout: time({
    default: "300s",
    min: "1s",
    readBy: ["smtp-delivery"],
    source: "postconf(5)",
    about: "Time for the greeting, and for EHLO.",
  }),
  smtp_mail_timeout: time({
    default: "300s",
    min: "1s",
    readBy: ["smtp-delivery"],
    source: "postconf(5)",
    about: "Time for MAIL.",
  }),
  smtp_rcpt_timeout: time({
    default: "300s",
    min: "1s",
    readBy: ["smtp-delivery"],
    source: "postconf(5)",
    about: "Time for RCPT.",
  }),
  smtp_data_init_timeout: time({
    default: "120s",
    min: "1s",
    readBy: ["smtp-delivery"],
    source: "postconf(5)",
    about: "Time for DATA.",
  }),
  smtp_data_xfer_timeout: time({
    default: "180s",
    min: "1s",
    readBy: ["smtp-delivery"],
    source: "postconf(5)",
    about: "Time for each write of the content.",
  }),
  smtp_data_done_timeout: time({
    default: "600s",
    min: "1s",
    readBy: ["smtp-delivery"],
    source: "postconf(5)",
    about: "Time for the reply to the final dot.",
  }),
  smtp_rset_timeout: time({
    default: "20s",
    min: "1s",
    readBy: ["smtp-delivery"],
    source: "postconf(5)",
    about: "Time for RSET.",
  }),
  smtp_helo_name: text({
    default: "$myhostname",
    form: {
      pattern: /^(?:[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,253}[A-Za-z0-9_])?|\[[0-9A-Za-z:.]+\])$/,
      saying: "a host name or an address in brackets",
    },
    readBy: ["smtp-delivery"],
    source: "postconf(5)",
    about: "Name in EHLO.",
  }),
  smtp_bind_address: ipAddress(4, {
    default: "",
    readBy: ["smtp-delivery"],
    source: "postconf(5); Departs: per transport as <transport>_bind_address",
    about: "Source address of connections over IPv4.",
  }),
  smtp_bind_address6: ipAddress(6, {
    default: "",
    readBy: ["smtp-delivery"],
    source: "postconf(5); Departs: per transport as <transport>_bind_address6",
    about: "Source address of connections over IPv6.",
  }),
  smtp_bind_address_enforce: yesNo({
    default: "no",
    readBy: ["smtp-delivery"],
    source: "postconf(5); Departs: per transport as <transport>_bind_address_enforce",
    about:
      "Defers mail when a source address can't be used; otherwise it goes from another one, with a warning.",
  }),
  smtp_mx_address_limit: count({
    default: "5",
    readBy: ["smtp-delivery"],
    source: "postconf(5)",
    about: "Addresses tried per next hop; 0: all.",
  }),
  smtp_mx_session_limit: count({
    default: "2",
    readBy: ["smtp-delivery"],
    source: "postconf(5)",
    about: "Sessions tried per next hop; 0: no limit.",
  }),
  smtp_randomize_addresses: yesNo({
    default: "yes",
    readBy: ["smtp-delivery"],
    source: "postconf(5)",
    about: "Shuffles servers of equal preference.",
  }),
  smtp_address_preference: oneOf(["any", "ipv4", "ipv6"], {
    default: "any",
    readBy: ["smtp-delivery"],
    source: "postconf(5)",
    about: "Which addresses of a server are tried first.",
  }),
  smtp_balance_inet_protocols: yesNo({
    default: "yes",
    readBy: ["smtp-delivery"],
    source: "postconf(5)",
    about: "Keeps room for both families when addresses are cut to smtp_mx_address_limit.",
  }),
  smtp_fallback_relay: text({
    default: "",
    form: nexthopListForm,
    readBy: ["smtp-delivery"],
    source: "postconf(5)",
    about: "Next hops tried after all others, unless we are an MX host of the destination.",
  }),
  smtp_defer_if_no_mx_address_found: yesNo({
    default: "no",
    readBy: ["smtp-delivery"],
    source: "postconf(5)",
    about: "Defers mail when no MX host has an address, instead of bouncing it.",
  }),
  smtp_ignore_mx_lookup_error: yesNo({
    default: "no",
    readBy: ["smtp-delivery"],
    source: "postconf(5)",
    about: "Looks for the domain's own addresses when the question for its MX hosts fails.",
  }),
  smtp_host_lookup: list({
    default: "dns",
    bounds: "dns, native, or both in this order",
    check: wordsOf("dns", "native"),
    readBy: ["qmgr", "smtp-delivery", "showq"],
    source: "postconf(5)",
    about: "How addresses of hosts are looked up: in DNS, or as the system does (/etc/hosts).",
  }),
  smtp_dns_support_level: text({
    default: "",
    form: {
      pattern: /^(?:enabled|disabled)?$/i,
      saying:
        "enabled (or empty) or disabled; dnssec is not supported, since Node.js shows no proof of it",
    },
    readBy: ["qmgr", "smtp-delivery", "showq"],
    source: "postconf(5); Departs: no dnssec",
    about: "disabled: no MX lookups, and addresses as the system finds them.",
  }),
  dns_servers: list({
    default: "",
    bounds: "addresses, or address:port ([address]:port for IPv6)",
    check: checkDnsServers,
    readBy: ["qmgr", "smtp-delivery", "showq"],
    source: "postmq",
    about: "Name servers to ask, in this order; empty: those of /etc/resolv.conf.",
  }),
  inet_protocols: list({
    default: "all",
    bounds: "all, ipv4, ipv6",
    check: wordsOf("all", "ipv4", "ipv6"),
    readBy: ["smtp-delivery"],
    source: "postconf(5); Departs: of delivery only",
    about: "Families of addresses that delivery looks up and connects to.",
  }),
  inet_interfaces: list({
    default: "all",
    bounds: "all, loopback-only, or addresses and host names",
    readBy: ["smtp-delivery"],
    source: "postconf(5); Departs: smtpd_listen says where smtpd listens; empty: none",
    about: "Our own addresses: mail that would go to port 25 of one of them is in a loop.",
  }),
  proxy_interfaces: list({
    default: "",
    bounds: "addresses and host names",
    readBy: ["smtp-delivery"],
    source: "postconf(5)",
    about: "Addresses at which mail reaches us through a proxy or a load balancer: own ones too.",
  }),
  smtp_line_length_limit: count({
    default: "998",
    readBy: ["smtp-delivery"],
    source: "postconf(5)",
    about: "Longer lines of content are broken with CRLF and a space; 0: never.",
  }),
  disable_mime_output_conversion: yesNo({
    default: "no",
    readBy: ["smtp-delivery"],
    source: "postconf(5); spec D17",
    about: "8-bit content goes as it is to a server that does not offer 8BITMIME.",
  }),
  mime_nesting_limit: count({
    default: "100",
    readBy: ["smtp-delivery"],
    source: "postconf(5)",
    about: "Multiparts within multiparts that are looked into.",
  }),
  mime_boundary_length_limit: count({
    default: "2048",
    min: 1,
    readBy: ["smtp-delivery"],
    source: "postconf(5)",
    about: "Bytes of a MIME boundary that count.",
  }),
  smtp_generic_maps: list({
    default: "",
    readBy: ["smtp-delivery"],
    source: "postconf(5); spec D21",
    about: "Tables by which addresses in envelope and headers are rewritten when mail is sent.",
  }),
  propagate_unmatched_extensions: list({
    default: "canonical, virtual",
    bounds: "canonical, virtual, alias, forward, include, generic",
    check: wordsOf("canonical", "virtual", "alias", "forward", "include", "generic"),
    readBy: ["smtp-delivery"],
    source: "postconf(5); spec R11",
    about: "Maps whose results get back the address extension that was taken off to find them.",
  }),
  smtp_header_checks: list({
    default: "",
    readBy: ["smtp-delivery"],
    source: "postconf(5); spec D21",
    about: "Tables of checks for the headers of a message when it is sent.",
  }),
  smtp_mime_header_checks: list({
    default: "",
    readBy: ["smtp-delivery"],
    source: "postconf(5); spec D21",
    about: "The same for MIME headers.",
  }),
  smtp_nested_header_checks: list({
    default: "",
    readBy: ["smtp-delivery"],
    source: "postconf(5); spec D21",
    about: "The same for headers of attached messages.",
  }),
  smtp_body_checks: list({
    default: "",
    readBy: ["smtp-delivery"],
    source: "postconf(5); spec D21",
    about: "The same for all other lines.",
  }),
  dkim_keys: list({
    default: "",
    readBy: ["smtp-delivery"],
    source: "postmq; RFC 6376",
    about:
      "Tables that name, for a domain of From or a parent of it, the keys to sign with: selector=name key=/file, as " +
      "often as there are keys.",
  }),
  dkim_canonicalization: oneOf(
    ["relaxed/relaxed", "relaxed/simple", "simple/relaxed", "simple/simple"],
    {
      default: "relaxed/relaxed",
      readBy: ["smtp-delivery"],
      source: "postmq; RFC 6376 §3.4",
      about: "What may change under way in headers and body of signed mail.",
    },
  ),
  dkim_signed_headers: list({
    default:
      "From, Sender, Reply-To, Subject, Date, Message-ID, To, Cc, MIME-Version, Content-Type, " +
      "Content-Transfer-Encoding, Content-ID, Content-Description, Resent-Date, Resent-From, Resent-Sender, Resent-To, " +
      "Resent-Cc, Resent-Message-ID, In-Reply-To, References, List-Id, List-Help, List-Unsubscribe, " +
      "List-Unsubscribe-Post, List-Subscribe, List-Post, List-Owner, List-Archive",
    check: checkSignedHeaders,
    readBy: ["smtp-delivery"],
    source: "postmq; RFC 6376 §5.4",
    about: "Headers that a signature covers, as often as each is there.",
  }),
  dkim_oversigned_headers: list({
    default: "From",
    check: checkHeaderNames,
    readBy: ["smtp-delivery"],
    source: "postmq; RFC 6376 §8.15",
    about: "Headers that nobody may add to signed mail.",
  }),
  smtp_skip_5xx_greeting: yesNo({
    default: "yes",
    readBy: ["smtp-delivery"],
    source: "postconf(5)",
    about: "A server that greets with 5xx is skipped, and the next one tried.",
  }),
  smtp_connection_cache_on_demand: yesNo({
    default: "yes",
    readBy: ["smtp-delivery"],
    source: "postconf(5); spec S32",
    about: "Keeps connections to a destination whose deliveries come back to back.",
  }),
  smtp_connection_cache_destinations: list({
    default: "",
    readBy: ["smtp-delivery"],
    source: "postconf(5)",
    about: "Domains and next hops whose connections are always kept.",
  }),
  smtp_connection_cache_time_limit: time({
    default: "2s",
    readBy: ["smtp-delivery"],
    source: "postconf(5)",
    about: "How long an idle connection is kept.",
  }),
  smtp_connection_reuse_time_limit: time({
    default: "300s",
    readBy: ["smtp-delivery"],
    source: "postconf(5)",
    about: "How long a connection is used over and over.",
  }),
  smtp_connection_reuse_count_limit: count({
    default: "0",
    readBy: ["smtp-delivery"],
    source: "postconf(5)",
    about: "Deliveries over one connection; 0: no limit.",
  }),
  default_delivery_status_filter: list({
    default: "",
    bounds: "tables, type:name",
    readBy: ["smtp-delivery"],
    source: "postconf(5); spec D14",
    about: 'Tables from "status text" to another, for outcomes of deliveries.',
  }),
  smtp_delivery_status_filter: list({
    default: "$default_delivery_status_filter",
    bounds: "tables, type:name",
    readBy: ["smtp-delivery"],
    source: "postconf(5); spec D14",
    about: "The same, for deliveries by SMTP and LMTP.",
  }),
  lmtp_assume_final: yesNo({
    default: "no",
    readBy: ["smtp-delivery"],
    source: "postconf(5); spec D31",
    about:
      "An LMTP server without DSN counts as the last one: success reports say delivered, not relayed.",
  }),
  smtp_starttls_timeout: time({
    default: "300s",
    min: "1s",
    readBy: ["smtp-delivery"],
    source: "postconf(5)",
    about: "Time for STARTTLS and for the handshake.",
  }),
  smtp_quit_timeout: time({
    default: "300s",
    min: "1s",
    readBy: ["smtp-delivery"],
    source: "postconf(5)",
    about: "Time for the reply to QUIT, where it is awaited.",
  }),
  smtp_skip_quit_response: yesNo({
    default: "yes",
    readBy: ["smtp-delivery"],
    source: "postconf(5)",
    about: "Does not wait for the reply to QUIT.",
  }),
  smtp_always_send_ehlo: yesNo({
    default: "yes",
    readBy: ["smtp-delivery"],
    source: "postconf(5)",
    about: "Says EHLO to every server; no: only to one whose greeting has the word ESMTP.",
  }),
  smtp_never_send_ehlo: yesNo({
    default: "no",
    readBy: ["smtp-delivery"],
    source: "postconf(5)",
    about: "Says HELO and never EHLO: no extension is used, TLS neither.",
  }),
  smtp_discard_ehlo_keywords: list({
    default: "",
    readBy: ["smtp-delivery"],
    source: "postconf(5)",
    about:
      "Extensions that are not used though a server offers them; silent-discard: nothing is logged of it.",
  }),
  smtp_discard_ehlo_keyword_address_maps: list({
    default: "",
    bounds: "tables, type:name",
    readBy: ["smtp-delivery"],
    source: "postconf(5)",
    about: "Tables that give smtp_discard_ehlo_keywords by a server's address.",
  }),
  smtp_sasl_auth_enable: yesNo({
    default: "no",
    readBy: ["smtp-delivery"],
    source: "postconf(5)",
    about: "Logs in to servers that ask for it, where smtp_sasl_password_maps has credentials.",
  }),
  // Secret, since a table may be written out in it.
  smtp_sasl_password_maps: {
    ...list({
      default: "",
      bounds: "tables, type:name",
      readBy: ["smtp-delivery"],
      source: "postconf(5)",
      about:
        "Tables that give user:password by server name, by next hop as it is written, or by sender.",
    }),
    isSecret: true,
  },
  smtp_sender_dependent_authentication: yesNo({
    default: "no",
    readBy: ["smtp-delivery"],
    source: "postconf(5)",
    about: "Looks credentials up by sender first.",
  }),
  smtp_sasl_security_options: list({
    default: "noplaintext, noanonymous",
    bounds: saslOptions.join(", "),
    check: checkSaslOptions,
    readBy: ["smtp-delivery"],
    source: "postconf(5)",
    about: "What a mechanism must have in a session without TLS.",
  }),
  smtp_sasl_tls_security_options: list({
    default: "$smtp_sasl_security_options",
    bounds: saslOptions.join(", "),
    check: checkSaslOptions,
    readBy: ["smtp-delivery"],
    source: "postconf(5)",
    about: "What a mechanism must have under TLS.",
  }),
  smtp_sasl_tls_verified_security_options: list({
    default: "$smtp_sasl_tls_security_options",
    bounds: saslOptions.join(", "),
    check: checkSaslOptions,
    readBy: ["smtp-delivery"],
    source: "postconf(5)",
    about: "What a mechanism must have under TLS with a verified server.",
  }),
  smtp_sasl_mechanism_filter: list({
    default: "",
    readBy: ["smtp-delivery"],
    source: "postconf(5); Departs: no files and no other tables",
    about: "Mechanisms that may be used, by name; !name: not this one; static:all: all others.",
  }),
  smtp_sasl_auth_soft_bounce: yesNo({
    default: "yes",
    readBy: ["smtp-delivery"],
    source: "postconf(5)",
    about: "Mail is deferred, not bounced, when a server refuses our login with 5xx.",
  }),
  smtp_tls_security_level: {
    ...text({
      default: "",
      readBy: ["smtp-delivery"],
      source: "postconf(5); Departs: no DANE",
      about: "How far servers must prove themselves where no policy says; empty: none.",
    }),
    bounds: tlsLevelNames.join(", "),
    parse: parseTlsLevel,
  },
  smtp_tls_policy_maps: list({
    default: "",
    bounds: "tables, type:name",
    readBy: ["smtp-delivery"],
    source: "postconf(5)",
    about: 'Tables that give "level name=value ..." by next hop as it is written, or by domain.',
  }),
  smtp_tls_mta_sts: yesNo({
    default: "no",
    readBy: ["smtp-delivery"],
    source: "postmq; RFC 8461",
    about: "Asks each domain that smtp_tls_policy_maps does not name for its MTA-STS policy.",
  }),
  smtp_tls_mandatory_protocols: text({
    default: ">=TLSv1.2",
    form: tlsProtocolsForm,
    readBy: ["smtp-delivery"],
    source: "postconf(5); Departs: Postfix allows TLSv1; spec security.md 13",
    about: "Protocols at level encrypt and above.",
  }),
  smtp_tls_protocols: text({
    default: ">=TLSv1.2",
    form: tlsProtocolsForm,
    readBy: ["smtp-delivery"],
    source: "postconf(5); Departs: Postfix allows TLSv1; spec security.md 13",
    about: "Protocols at level may.",
  }),
  smtp_tls_mandatory_ciphers: oneOf(tlsCipherGrades, {
    default: "medium",
    readBy: ["smtp-delivery"],
    source: "postconf(5)",
    about: "Lowest grade of ciphers at level encrypt and above.",
  }),
  smtp_tls_ciphers: oneOf(tlsCipherGrades, {
    default: "medium",
    readBy: ["smtp-delivery"],
    source: "postconf(5)",
    about: "Lowest grade of ciphers at level may.",
  }),
  smtp_tls_exclude_ciphers: list({
    default: "",
    readBy: ["smtp-delivery"],
    source: "postconf(5)",
    about: "Ciphers and kinds of ciphers that are never used.",
  }),
  smtp_tls_mandatory_exclude_ciphers: list({
    default: "",
    readBy: ["smtp-delivery"],
    source: "postconf(5)",
    about: "More of them, at level encrypt and above.",
  }),
  smtp_tls_CAfile: path({
    default: "",
    readBy: ["smtp-delivery"],
    source: "postconf(5); Departs: without it and smtp_tls_CApath, Node's own list of authorities",
    about: "Certificates of authorities that vouch for servers, one file.",
  }),
  smtp_tls_CApath: path({
    default: "",
    readBy: ["smtp-delivery"],
    source: "postconf(5); Departs: file names need not be hashes",
    about: "The same, a directory of such files.",
  }),
  tls_append_default_CA: yesNo({
    default: "no",
    readBy: ["smtp-delivery"],
    source: "postconf(5)",
    about: "Trusts Node's own list of authorities besides smtp_tls_CAfile and smtp_tls_CApath.",
  }),
  smtp_tls_cert_file: path({
    default: "",
    readBy: ["smtp-delivery"],
    source: "postconf(5)",
    about: "Our certificate for servers that ask for one, with its chain.",
  }),
  smtp_tls_key_file: path({
    default: "$smtp_tls_cert_file",
    readBy: ["smtp-delivery"],
    source: "postconf(5)",
    about: "Its private key.",
  }),
  smtp_tls_verify_cert_match: text({
    default: "hostname",
    readBy: ["smtp-delivery"],
    source: "postconf(5)",
    about:
      "Names that a certificate must show at level verify: hostname, nexthop, a name, .domain.",
  }),
  smtp_tls_secure_cert_match: text({
    default: "nexthop, dot-nexthop",
    readBy: ["smtp-delivery"],
    source: "postconf(5)",
    about: "Names that a certificate must show at level secure.",
  }),
  smtp_tls_fingerprint_cert_match: list({
    default: "",
    readBy: ["smtp-delivery"],
    source: "postconf(5)",
    about: "Fingerprints of certificates or of their public keys, for level fingerprint.",
  }),
  smtp_tls_fingerprint_digest: oneOf(["sha256", "sha384", "sha512", "sha1", "md5"], {
    default: "sha256",
    readBy: ["smtp-delivery"],
    source: "postconf(5)",
    about: "How fingerprints are made.",
  }),
  smtp_tls_servername: text({
    default: "",
    form: {
      pattern: /^(?:[A-Za-z0-9](?:[A-Za-z0-9_-]*[A-Za-z0-9])?(?:\.[A-Za-z0-9_-]+)*)?$/,
      saying: "hostname, nexthop or a host name",
    },
    readBy: ["smtp-delivery"],
    source: "postconf(5)",
    about: "Name that servers are asked for (SNI); empty: none.",
  }),
  smtp_tls_connection_reuse: yesNo({
    default: "no",
    readBy: ["smtp-delivery"],
    source: "postconf(5)",
    about: "Connections under TLS are kept for further mail too.",
  }),
  smtp_tls_wrappermode: yesNo({
    default: "no",
    readBy: ["smtp-delivery"],
    source: "postconf(5)",
    about: "TLS from the first byte, as on port 465; needs level encrypt or above.",
  }),
  smtp_tls_scert_verifydepth: count({
    default: "9",
    max: 100,
    readBy: ["smtp-delivery"],
    source: "postconf(5)",
    about: "Longest chain of authorities above a server's certificate.",
  }),
  smtp_tls_note_starttls_offer: yesNo({
    default: "no",
    readBy: ["smtp-delivery"],
    source: "postconf(5)",
    about: "Logs servers that offer STARTTLS where no TLS is used.",
  }),
  smtp_tls_loglevel: count({
    default: "0",
    max: 4,
    readBy: ["smtp-delivery"],
    source: "postconf(5); Departs: 2 and above log what 1 does",
    about: "1: logs each TLS session that begins.",
  }),
  smtp_allow_private_addresses: yesNo({
    default: "no",
    readBy: ["smtp-delivery"],
    source: "postmq; spec security.md 10",
    about: "Delivers to loopback, private and link-local addresses that DNS gave for a domain.",
  }),
  delay_logging_resolution_limit: count({
    default: "2",
    max: 6,
    readBy: ["qmgr", "smtp-delivery"],
    source: "postconf(5)",
    about: "Decimals of delays in log lines at most.",
  }),

  // ----------------------------------------------------------------------------------------------- bounce

  bounce_size_limit: size({
    default: "50000",
    readBy: ["bounce"],
    source: "postconf(5)",
    about: "Originals larger than this go into reports with their headers only.",
  }),
  disable_verp_bounces: yesNo({
    default: "no",
    readBy: ["bounce"],
    source: "postconf(5), VERP_README; spec D33",
    about: "Mail with VERP has one report of failures for all recipients, to its plain sender.",
  }),
  double_bounce_sender: text({
    default: "double-bounce",
    form: { pattern: /^[A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]{1,64}$/, saying: "a local part" },
    readBy: ["bounce", "qmgr", "smtp-delivery"],
    source: "postconf(5)",
    about: "Local part of the sender of postmaster notices.",
  }),
  bounce_template_file: path({
    default: "",
    readBy: ["bounce"],
    source: "postconf(5), bounce(5)",
    about: "File with the texts of reports, in the format of bounce(5); empty: the built-in ones.",
  }),
  notify_classes: list({
    default: "resource, software",
    bounds: noticeClasses.join(", "),
    check: checkNoticeClasses,
    readBy: ["bounce", "smtp-delivery"],
    source: "postconf(5); Departs: only bounce, 2bounce, delay and protocol have an effect",
    about: "Events that the postmaster is told of by mail.",
  }),
  bounce_notice_recipient: text({
    default: "postmaster",
    form: noticeRecipientForm,
    readBy: ["bounce"],
    source: "postconf(5)",
    about: "Who gets copies of reports about mail that was not delivered (class bounce).",
  }),
  "2bounce_notice_recipient": text({
    default: "postmaster",
    form: noticeRecipientForm,
    readBy: ["bounce"],
    source: "postconf(5)",
    about: "Who gets reports that could not be delivered themselves (classes 2bounce and bounce).",
  }),
  delay_notice_recipient: text({
    default: "postmaster",
    form: noticeRecipientForm,
    readBy: ["bounce"],
    source: "postconf(5)",
    about: "Who gets copies of warnings that mail is delayed (class delay).",
  }),
  error_notice_recipient: text({
    default: "postmaster",
    form: noticeRecipientForm,
    readBy: ["smtp-delivery"],
    source: "postconf(5)",
    about: "Who gets transcripts of sessions (class protocol).",
  }),
  enable_threaded_bounces: yesNo({
    default: "no",
    readBy: ["bounce"],
    source: "postconf(5)",
    about: "Reports refer to the Message-ID of the message that they are about.",
  }),

  // ------------------------------------------------------------------------------------ HTTP and commands

  pickup_listen: listen({
    default: "127.0.0.1:8025",
    readBy: ["pickup"],
    source: "postmq",
    about: "Where mail can be submitted by HTTP.",
  }),
  showq_listen: listen({
    default: "127.0.0.1:8080",
    readBy: ["showq"],
    source: "postmq",
    about: "Where the queue can be looked at and administered by HTTP.",
  }),
  metrics_listen: listen({
    default: metricsListenDefault,
    readBy: [...serviceNames, "start"],
    source: "postmq",
    about: "Where each service tells its metrics and its health.",
  }),
  api_tokens: path({
    default: "",
    readBy: ["pickup", "showq"],
    source: "postmq; spec security.md 11",
    about:
      "File of HTTP tokens, one a line: name, scrypt hash, scopes, allowed senders. Without it pickup and showq " +
      "refuse to listen on an address that is not loopback, and nobody may act on messages or read them by HTTP.",
  }),
  submission_recipient_limit: count({
    default: "1000",
    min: 1,
    readBy: ["pickup"],
    source: "postmq",
    about: "Recipients of one HTTP submission at most.",
  }),
  submission_url: secretUrl({
    default: "",
    schemes: ["http://", "https://"],
    readBy: [],
    source: "postmq",
    about: "Where sendmail submits by HTTP with a token instead of to Redis.",
  }),
  authorized_submit_users: list({
    default: "static:anyone",
    readBy: ["commands"],
    source: "postconf(5)",
    about: "Users who may submit with sendmail.",
  }),
  authorized_flush_users: list({
    default: "static:anyone",
    readBy: ["commands"],
    source: "postconf(5)",
    about: "Users who may flush the queue.",
  }),
  authorized_mailq_users: list({
    default: "static:anyone",
    readBy: ["commands"],
    source: "postconf(5)",
    about: "Users who may list the queue.",
  }),

  // --------------------------------------------------------------------------------------------- the store

  redis_url: secretUrl({
    default: "",
    schemes: [
      "redis://",
      "rediss://",
      "redis+sentinel://",
      "rediss+sentinel://",
      "unix://",
      "redis+unix://",
    ],
    readBy: parameterReaders,
    source: "postmq",
    about: "Where the queue lives. Empty: `npm start` runs a Redis of its own in data_directory.",
  }),
  instance_name: text({
    default: "default",
    form: { pattern: /^[A-Za-z0-9_-]{1,32}$/, saying: "1 to 32 letters, digits, - and _" },
    readBy: parameterReaders,
    source: "postmq; DESIGN §5",
    about: "Which queue system on that Redis: its keys begin with postmq:{name}.",
  }),
  data_directory: path({
    default: "var",
    readBy: ["start", "smtp-delivery", "commands"],
    source: "postmq; another meaning in postconf(5)",
    about: "Local files: the Redis of `npm start`, outcomes that could not be written at exit.",
  }),
  drop_directory: path({
    default: "$data_directory/maildrop",
    readBy: ["pickup", "commands"],
    source: "postmq",
    about: "Where sendmail leaves mail while Redis is away; empty: it exits 75 then.",
  }),
  redis_memory_high_water: share({
    default: "0.8",
    readBy: [...serviceNames, "commands"],
    source: "postmq; DESIGN P9",
    about: "Part of Redis's maxmemory above which intake refuses mail.",
  }),
  worker_heartbeat_time: time({
    default: "10s",
    min: "1s",
    max: "300s",
    readBy: [...serviceNames, "commands"],
    source: "postmq; DESIGN §3",
    about:
      "Life of a process's heartbeat in Redis; its claims live as long. Refreshed every fifth of it.",
  }),
  leader_lease_time: time({
    default: "8s",
    min: "1s",
    max: "300s",
    readBy: [...serviceNames, "commands"],
    source: "postmq; DESIGN §4",
    about: "Life of the lease of the scheduler that leads.",
  }),
  sweep_interval: time({
    default: "5s",
    min: "1s",
    max: "3600s",
    readBy: ["qmgr"],
    source: "postmq; DESIGN §3",
    about: "How often the leader looks for entries that nobody was rung for.",
  }),
  ambiguous_delivery: oneOf(["retry", "hold"], {
    default: "retry",
    readBy: ["qmgr"],
    source: "postmq; DESIGN §3",
    about: "What becomes of a delivery whose end is unknown after its final dot was sent.",
  }),
  crash_limit: count({
    default: "3",
    min: 1,
    readBy: [...serviceNames],
    source: "postmq; DESIGN §3",
    about: "Crashes of a process that had this message alone, before it goes to corrupt.",
  }),
  fair_share_key: oneOf(["none", "sender_domain", "sasl_username", "client", "tag"], {
    default: "none",
    readBy: ["qmgr"],
    source: "postmq",
    about: "Whose turns are balanced within a transport.",
  }),
  fair_share_weights: weights({
    default: "",
    readBy: ["qmgr"],
    source: "postmq",
    about: "Weight per key of fair_share_key; 1 if absent.",
  }),
  destination_grouping: oneOf(["nexthop", "mx"], {
    default: "nexthop",
    readBy: ["qmgr", "showq"],
    source: "postmq; spec S16",
    about:
      "What counts as one destination for limits: each next hop, or all next hops that the same set of MX hosts serves.",
  }),
  event_retention: time({
    default: "7d",
    unit: "d",
    readBy: [...serviceNames],
    source: "postmq",
    about: "How long a message's timeline is kept.",
  }),
  event_memory: size({
    default: "64M",
    takesUnits: true,
    readBy: [...serviceNames],
    source: "postmq",
    about:
      "Size of all timelines together; the oldest go first. 0: none are kept. They take no more than an eighth of " +
      "Redis's maxmemory, and a quarter of that while Redis is above redis_memory_high_water.",
  }),
} as const;

export type ParameterName = keyof typeof parameterTable;

type ValueOf<Row> = Row extends ParameterRow<infer Value> ? Value : never;

/** Every parameter of the table by its Postfix name: times in ms, sizes in bytes, lists as arrays. */
export type ParameterValues = {
  readonly [Name in ParameterName]: ValueOf<(typeof parameterTable)[Name]>;
};
