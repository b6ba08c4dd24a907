import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { isPostmqError } from "@postmq/vocabulary";
import { loadParameters, parseTransports, transportParameter } from "./load-parameters.ts";
import type { Parameters } from "./load-parameters.ts";
import type { TransportSuffix } from "./transport-parameters.ts";
import { parameterTable } from "./parameters.ts";

const surroundings = { hostName: "mx1.example.org", interfaceAddresses: ["127.0.0.1", "::1"] };

describe("loadParameters", () => {
  let directory = "";
  before(() => {
    directory = mkdtempSync(join(tmpdir(), "postmq-config-"));
  });
  after(() => rmSync(directory, { recursive: true }));

  function load(
    mainCf: string,
    env: Readonly<Record<string, string>> = {},
    options: {
      readonly service?: string;
      readonly warnings?: string[];
      readonly hostName?: string;
    } = {},
  ): Parameters {
    const file = join(directory, "main.cf");
    writeFileSync(file, mainCf);
    return loadParameters({
      env: { POSTMQ_CONFIG: file, ...env },
      surroundings: { ...surroundings, hostName: options.hostName ?? surroundings.hostName },
      ...(options.service === undefined ? {} : { service: options.service }),
      onWarning: (text) => options.warnings?.push(text),
    });
  }

  function refusal(mainCf: string, env: Readonly<Record<string, string>> = {}): string {
    try {
      load(mainCf, env);
    } catch (error) {
      assert.ok(isPostmqError(error, "PMQ_CONFIG_INVALID"), String(error));
      return error.message;
    }
    throw new assert.AssertionError({ message: "nothing was refused" });
  }

  it("takes the environment over main.cf over the default", () => {
    const env = { POSTMQ_MINIMAL_BACKOFF_TIME: "7s" };
    assert.equal(load("").minimal_backoff_time, 300_000);
    assert.equal(load("minimal_backoff_time = 9s").minimal_backoff_time, 9_000);
    assert.equal(load("minimal_backoff_time = 9s", env).minimal_backoff_time, 7_000);
  });

  it("reads a value from the file that POSTMQ_<NAME>_FILE names, without its last newline", () => {
    const secret = join(directory, "redis-url");
    writeFileSync(secret, "redis://:pa$$word$x@redis:6379/0\n");
    assert.equal(
      load("", { POSTMQ_REDIS_URL_FILE: secret }).redis_url,
      "redis://:pa$$word$x@redis:6379/0",
    );
  });

  it("refuses a parameter that is set by value and by file", () => {
    const file = join(directory, "main.cf");
    assert.match(
      refusal("", { POSTMQ_MYHOSTNAME: "a", POSTMQ_MYHOSTNAME_FILE: file }),
      /POSTMQ_MYHOSTNAME and POSTMQ_MYHOSTNAME_FILE/,
    );
  });

  it("names a value's file that can't be read", () => {
    assert.match(
      refusal("", { POSTMQ_REDIS_URL_FILE: "/nowhere/x" }),
      /REDIS_URL_FILE.*\/nowhere\/x/,
    );
  });

  it("refuses a POSTMQ_CONFIG that does not exist", () => {
    assert.match(refusal("", { POSTMQ_CONFIG: "/nowhere/main.cf" }), /\/nowhere\/main\.cf/);
  });

  it("refuses a name that neither Postfix nor postmq knows, in main.cf and in the environment", () => {
    assert.match(refusal("minimal_backof_time = 9s"), /minimal_backof_time/);
    assert.match(refusal("", { POSTMQ_MINIMAL_BACKOF_TIME: "9s" }), /POSTMQ_MINIMAL_BACKOF_TIME/);
  });

  it("warns of a Postfix parameter that has no effect here", () => {
    const warnings: string[] = [];
    load("smtpd_sasl_auth_enable = yes", { POSTMQ_SMTP_TLS_PER_SITE: "may" }, { warnings });
    assert.equal(warnings.length, 2);
    assert.match(warnings.join("\n"), /smtpd_sasl_auth_enable[\s\S]*smtp_tls_per_site/);
  });

  it("finds a parameter with capitals in its name in the environment", () => {
    const parameters = load("", { POSTMQ_SMTP_TLS_CAFILE: "/etc/ca.pem" });
    assert.equal(parameters.smtp_tls_CAfile, "/etc/ca.pem");
  });

  it("refuses DANE and unknown levels of TLS, and protocols that there are not", () => {
    assert.match(refusal("smtp_tls_security_level = dane"), /DANE is not there/);
    assert.match(refusal("smtp_tls_security_level = always"), /must be empty or one of none, may/);
    assert.match(refusal("smtp_tls_protocols = >=TLSv1.2, !TLSv1.9"), /smtp_tls_protocols/);
    assert.equal(load("smtp_tls_protocols = !SSLv2:!SSLv3 >=0303").smtp_tls_protocols.length, 20);
  });

  it("warns of a parameter of postmq's own that nobody reads yet", () => {
    const warnings: string[] = [];
    load("submission_url = http://127.0.0.1", {}, { warnings });
    assert.match(warnings.join(), /submission_url has no effect/);
  });

  it("takes a helper's name that another value refers to, as Postfix does", () => {
    const parameters = load("my_clients = 10.0.0.0/8\nmynetworks = 127.0.0.1 $my_clients");
    assert.deepEqual(parameters.mynetworks, ["127.0.0.1", "10.0.0.0/8"]);
  });

  it("lets the variables pass that Kubernetes sets for a service named postmq-smtpd", () => {
    const env = {
      KUBERNETES_SERVICE_HOST: "10.0.0.1",
      POSTMQ_SMTPD_SERVICE_HOST: "10.0.0.2",
      POSTMQ_SMTPD_SERVICE_PORT_SMTP: "2525",
      POSTMQ_SMTPD_PORT: "tcp://10.0.0.2:2525",
      POSTMQ_SMTPD_PORT_2525_TCP_ADDR: "10.0.0.2",
    };
    assert.equal(load("", env).smtpd_listen, "127.0.0.1:2525");
    assert.match(refusal("", { POSTMQ_SMTPD_PORT: "tcp://x" }), /POSTMQ_SMTPD_PORT/);
  });

  it("names parameter, value and bound of a wrong value", () => {
    assert.equal(
      refusal("minimal_backoff_time = 0"),
      'parameter minimal_backoff_time = "0": it must be 1s or more',
    );
    assert.match(refusal("smtpd_helo_required = maybe"), /"maybe": it must be yes or no/);
    assert.match(refusal("smtpd_timeout = 5x"), /smtpd_timeout = "5x": a time is/);
    assert.match(refusal("redis_memory_high_water = 1.5"), /0 to 1/);
    assert.match(refusal("smtpd_listen = 2525"), /host:port/);
    assert.match(refusal("ambiguous_delivery = drop"), /retry, hold/);
    assert.match(refusal("hopcount_limit = -1"), /whole number/);
    assert.match(refusal("hopcount_limit ="), /whole number/);
  });

  it("never shows a secret in a refusal", () => {
    const message = refusal("", { POSTMQ_REDIS_URL: "http://:canary-secret@redis" });
    assert.match(message, /redis_url/);
    assert.doesNotMatch(message, /canary-secret/);
  });

  it("expands $name and its conditions in values, and in defaults", () => {
    const parameters = load(
      "myhostname = mx.example.net\nsmtpd_banner = $myhostname ${relayhost?relay}",
    );
    assert.equal(parameters.smtpd_banner, "mx.example.net ");
    assert.equal(parameters.myorigin, "mx.example.net");
    assert.equal(load("smtp_helo_name = ${relayhost:$mydomain}").smtp_helo_name, "example.org");
  });

  it("refuses a value that refers to itself, showing the way round", () => {
    assert.match(
      refusal("myhostname = $myorigin\nmyorigin = $myhostname"),
      /refers to itself: myhostname -> myorigin -> myhostname/,
    );
  });

  it("refuses a reference to a name without a value", () => {
    assert.match(refusal("smtpd_banner = $myhostnam ESMTP"), /\$myhostnam, which has no value/);
  });

  it("completes a host name without a dot, by mydomain if set", () => {
    assert.equal(load("", {}, { hostName: "mx" }).myhostname, "mx.localdomain");
    assert.equal(
      load("mydomain = example.com", {}, { hostName: "mx" }).myhostname,
      "mx.example.com",
    );
    assert.equal(load("").mydomain, "example.org");
  });

  it("P8 refuses a relayhost that is no next hop, and takes every form of one", () => {
    for (const value of ["[127.0.0.1", "a b]", "[h]:", "h:25:26"]) {
      assert.match(refusal(`relayhost = ${value}`), /relayhost/, value);
    }
    for (const value of ["", "h.example", "h.example:smtp", "[::1]:25", "[a], b:26 [c]:1"]) {
      assert.equal(load(`relayhost = ${value}`).relayhost, value);
    }
  });

  it("trusts this host's own addresses only, if mynetworks is not set", () => {
    assert.deepEqual(load("").mynetworks, ["127.0.0.1/32", "[::1]/128"]);
  });

  it("gives relative paths from the directory of main.cf, and leaves empty ones empty", () => {
    const parameters = load("data_directory = state");
    assert.equal(parameters.data_directory, join(directory, "state"));
    assert.equal(parameters.drop_directory, join(directory, "state", "maildrop"));
    assert.equal(load("drop_directory =").drop_directory, "");
  });

  it("gives each service a metrics port of its own", () => {
    assert.equal(load("", {}, { service: "qmgr" }).metrics_listen, "127.0.0.1:9155");
    assert.equal(load("", {}, { service: "smtp-delivery" }).metrics_listen, "127.0.0.1:9156");
    assert.equal(load("").metrics_listen, "");
  });

  it("resolves a parameter per transport, and by its default otherwise", () => {
    const parameters = load("slow_destination_concurrency_limit = 2\ntransports = smtp, slow:smtp");
    const limit = (transport: string) =>
      transportParameter(parameters, transport, "destination_concurrency_limit");
    assert.equal(limit("slow"), 2);
    assert.equal(limit("smtp"), 20);
    assert.match(refusal("slow_destination_concurrency_limit = many"), /slow_destination.*"many"/);
    assert.match(refusal("slwo_destination_concurrency_limit = 2"), /slwo_destination/);
  });

  it("takes source addresses per transport, each of its family", () => {
    const parameters = load("relay_bind_address = [192.0.2.1]\nsmtp_bind_address6 = 2001:db8::1");
    assert.equal(transportParameter(parameters, "relay", "bind_address"), "192.0.2.1");
    assert.equal(transportParameter(parameters, "smtp", "bind_address"), "");
    assert.equal(transportParameter(parameters, "relay", "bind_address6"), "2001:db8::1");
    assert.match(refusal("smtp_bind_address = 2001:db8::1"), /it must be an IPv4 address/);
    assert.match(refusal("smtp_bind_address6 = :::"), /it must be an IPv6 address/);
    assert.match(refusal("relay_bind_address = 999.1.1.1"), /it must be an IPv4 address/);
  });

  it("takes the per-transport form of every kind of parameter", () => {
    const parameters = load(
      "slow_initial_destination_concurrency = 2\nslow_destination_rate_delay = 1m\n" +
        "slow_transport_rate_delay = 2\nslow_destination_concurrency_negative_feedback = 1/concurrency\n" +
        "default_delivery_slot_discount = 40\nretry_delivery_slot_discount = 30",
    );
    const slow = (suffix: TransportSuffix) => transportParameter(parameters, "slow", suffix);
    assert.equal(slow("initial_destination_concurrency"), 2);
    assert.equal(slow("destination_rate_delay"), 60_000);
    assert.equal(slow("transport_rate_delay"), 2000);
    assert.equal(slow("delivery_slot_discount"), 40);
    assert.deepEqual(slow("destination_concurrency_negative_feedback"), {
      kind: "concurrency",
      numerator: 1,
    });
    assert.equal(transportParameter(parameters, "smtp", "initial_destination_concurrency"), 5);
    assert.equal(transportParameter(parameters, "retry", "delivery_slot_discount"), 30);
  });

  it("refuses a percentage above 100 and an in_flow_delay above 10 s", () => {
    assert.match(refusal("smtp_delivery_slot_discount = 101"), /smtp_delivery_slot.*0 to 100/);
    assert.match(refusal("in_flow_delay = 11s"), /in_flow_delay.*0s to 10s/);
    assert.equal(load("in_flow_delay = 0").in_flow_delay, 0);
  });

  it("counts delay_warning_time in hours", () => {
    assert.equal(load("delay_warning_time = 4").delay_warning_time, 4 * 3_600_000);
  });

  it("S27 takes feedback that is malformed or out of bounds as 1, with a warning", () => {
    for (const written of ["1.5", "-1", "3/2", "2/concurrency", "1/0", "1/load", "much"]) {
      const warnings: string[] = [];
      const mainCf = `slow_destination_concurrency_positive_feedback = ${written}`;
      const feedback = transportParameter(
        load(mainCf, {}, { warnings }),
        "slow",
        "destination_concurrency_positive_feedback",
      );
      assert.deepEqual(feedback, { kind: "fixed", value: 1 }, written);
      assert.equal(warnings.length, 1, written);
      assert.match(warnings.join(), /slow_destination_concurrency_positive_feedback.*1 is used/);
    }
  });

  it("P11 refuses smtpd_relay_restrictions without a guard, or with what it can't do", () => {
    assert.match(refusal("smtpd_relay_restrictions = permit_mynetworks"), /at least one of/);
    assert.match(
      refusal("smtpd_relay_restrictions = check_client_access hash:x, reject"),
      /"check_client_access" is not supported/,
    );
  });

  it("D33 refuses VERP delimiters that are not two characters of verp_delimiter_filter", () => {
    assert.match(refusal("default_verp_delimiters = +=-"), /two characters/);
    assert.match(refusal("default_verp_delimiters = +a"), /of verp_delimiter_filter = "-=\+"/);
    assert.match(refusal("verp_delimiter_filter = -="), /default_verp_delimiters = "\+="/);
    const own = load("default_verp_delimiters = --\nverp_delimiter_filter = -");
    assert.equal(own.default_verp_delimiters, "--");
  });

  it("D33 lets nobody ask for VERP by SMTP by default", () => {
    assert.deepEqual(load("").smtpd_authorized_verp_clients, []);
  });

  it("refuses control characters in a value", () => {
    assert.match(refusal("", { POSTMQ_SMTPD_BANNER: "a\r\nb" }), /control character/);
  });

  it("tells transports with their kinds", () => {
    const kinds = parseTransports(load("transports = smtp, relay:smtp, lmtp, in:lmtp"));
    assert.deepEqual(
      [...kinds],
      [
        ["smtp", "smtp"],
        ["relay", "smtp"],
        ["lmtp", "lmtp"],
        ["in", "lmtp"],
      ],
    );
    assert.match(refusal("transports = x:uucp"), /x:uucp/);
  });

  it("has a default for every row that the row itself takes", () => {
    const parameters = load("");
    assert.deepEqual(
      Object.keys(parameters).filter((name) => name !== "transportOverrides"),
      Object.keys(parameterTable),
    );
  });
});
