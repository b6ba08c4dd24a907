import assert from "node:assert/strict";
import { chmodSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from "node:fs";
import { utimesSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, it } from "node:test";

import { commandRunner } from "./command.test-support.ts";
import type { Runner } from "./command.test-support.ts";

describe("postconf", () => {
  let directory: string;
  let command: Runner & Disposable;

  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), "postmq-postconf-"));
    command = commandRunner({ redisUrl: "redis://ann:s3cret@127.0.0.1:1/0", instanceName: "x" });
  });
  afterEach(() => {
    command[Symbol.dispose]();
    rmSync(directory, { recursive: true });
  });

  const mainCf = () => join(directory, "main.cf");
  const write = (text: string) => writeFileSync(mainCf(), text);
  const read = () => readFileSync(mainCf(), "utf8");
  const postconf = (...args: readonly string[]) =>
    command.run(["postconf", "-c", directory, ...args]);
  /** With nothing set by the environment. */
  const alone = (...args: readonly string[]) =>
    command.run(["postconf", "-c", directory, ...args], {
      env: Object.fromEntries(["MYHOSTNAME"].map((name) => [`POSTMQ_${name}`, ""])),
    });

  it("shows what is set with -n, by name or all of it, and never a password", async () => {
    write("relayhost = [mx.example.com]:26\nmynetworks = 127.0.0.0/8,\n\t192.0.2.0/24\n");
    const set = await postconf("-n");
    assert.deepEqual(
      set.out.split("\n").filter((line) => !line.includes("directory")),
      [
        "instance_name = x",
        "myhostname = mail.example.com",
        "mynetworks = 127.0.0.0/8, 192.0.2.0/24",
        "redis_url = redis://ann:(secret)@127.0.0.1:1/0",
        "relayhost = [mx.example.com]:26",
        "",
      ],
    );
    assert.deepEqual(await postconf("relayhost"), {
      code: 0,
      out: "relayhost = [mx.example.com]:26\n",
      err: "",
    });
    assert.equal((await postconf("-h", "relayhost", "alias_maps")).out, "[mx.example.com]:26\n");
    assert.equal((await postconf("-H", "relayhost")).out, "relayhost\n");
    const all = (await postconf()).out.split("\n");
    assert.ok(all.includes("bounce_queue_lifetime = 5d"));
    assert.ok(all.includes("smtp_destination_rate_delay = $default_destination_rate_delay"));
    assert.deepEqual(all.slice(0, -1), all.slice(0, -1).toSorted());
    assert.ok(!all.some((line) => line.includes("s3cret")));
  });

  it("hides passwords of tables written in place, and where another value refers to them", async () => {
    write(
      "smtp_sasl_password_maps = hash:/etc/sasl inline:{mx=ann:s3cret}\n" +
        "relayhost = $redis_url\nsmtp_helo_name = $smtp_sasl_password_maps\n",
    );
    const { out } = await postconf("-nx");
    assert.match(out, /^smtp_sasl_password_maps = hash:\/etc\/sasl inline:\(secret\)$/m);
    assert.ok(!out.includes("s3cret"), out);
  });

  it("shows defaults with -d whatever is set, and expands with -x", async () => {
    write("mydomain = example.org\nmyorigin = ${mydomain}\n");
    assert.equal((await postconf("-d", "myorigin")).out, "myorigin = $myhostname\n");
    assert.equal((await alone("-x", "myorigin")).out, "myorigin = example.org\n");
    assert.equal((await postconf("myorigin")).out, "myorigin = ${mydomain}\n");
  });

  it("warns of names that mean nothing, in Postfix's words, and exits 0", async () => {
    write("alias_maps = hash:/etc/aliases\nno_such = 1\nours = 2\nrelayhost = $ours\n");
    const shown = await postconf("-n", "nosuch", "ours");
    assert.equal(shown.code, 0);
    assert.equal(shown.out, "ours = 2\n");
    assert.deepEqual(shown.err.split("\n"), [
      "postconf: warning: nosuch: unknown parameter",
      `postconf: warning: ${mainCf()}: unused parameter: alias_maps=hash:/etc/aliases`,
      `postconf: warning: ${mainCf()}: unused parameter: no_such=1`,
      "",
    ]);
  });

  it("edits main.cf in place: comments and mode stay, a value over several lines is replaced", async () => {
    write("# ours\nmynetworks = 127.0.0.0/8,\n  192.0.2.0/24\n# end\n");
    chmodSync(mainCf(), 0o640);
    const done = await postconf("-e", "mynetworks = 10.0.0.0/8", "relayhost=[mx.example.com]");
    assert.deepEqual(done, { code: 0, out: "", err: "" });
    assert.equal(read(), "# ours\nmynetworks = 10.0.0.0/8\n# end\nrelayhost = [mx.example.com]\n");
    assert.equal(statSync(mainCf()).mode & 0o777, 0o640);
    assert.equal((await postconf("relayhost=")).code, 0);
    assert.equal((await postconf("relayhost")).out, "relayhost =\n");
    assert.equal((await postconf("-X", "relayhost")).code, 0);
    assert.equal((await postconf("-#", "mynetworks")).code, 0);
    assert.equal(read(), "# ours\n#mynetworks = 10.0.0.0/8\n# end\n");
    assert.deepEqual(readdirSync(directory), ["main.cf"]);
  });

  it("refuses a value that no daemon would take, and leaves main.cf as it was", async () => {
    write("relayhost = [mx.example.com]\n");
    const before = statSync(mainCf());
    const bad = await postconf("-e", "minimal_backoff_time = soon");
    assert.equal(bad.code, 1);
    assert.match(bad.err, /^postconf: fatal: parameter minimal_backoff_time = "soon": /);
    const unknown = await postconf("-e", "relay_host = x");
    assert.equal(unknown.code, 1);
    assert.match(unknown.err, /neither Postfix nor postmq has a parameter relay_host/);
    assert.equal(statSync(mainCf()).ino, before.ino);
    assert.equal(read(), "relayhost = [mx.example.com]\n");
    assert.deepEqual(readdirSync(directory), ["main.cf"]);
  });

  it("checks what it writes even where the environment wins, and says that it wins", async () => {
    write("");
    assert.equal((await postconf("-e", "myhostname = no host")).code, 1);
    const done = await postconf("-e", "myhostname = mx.example.net");
    assert.equal(done.code, 0);
    assert.match(
      done.err,
      /^postconf: warning: POSTMQ_MYHOSTNAME is set, which wins over main.cf$/m,
    );
    assert.equal((await postconf("myhostname")).out, "myhostname = mail.example.com\n");
  });

  it("mends a main.cf that is wrong in two places one after the other", async () => {
    write("minimal_backoff_time = soon\nqueue_run_delay = often\n");
    const first = await postconf("-e", "queue_run_delay = 300s");
    assert.equal(first.code, 0);
    assert.match(first.err, /was wrong before: parameter minimal_backoff_time/);
    assert.equal((await postconf("-e", "minimal_backoff_time = 300s")).err, "");
    assert.equal(read(), "minimal_backoff_time = 300s\nqueue_run_delay = 300s\n");
  });

  it("loses no change when many are made at once, nor to what a dead one left", async () => {
    write("");
    const temporary = join(directory, "main.cf.tmp");
    writeFileSync(temporary, "half a fi");
    utimesSync(temporary, new Date(0), new Date(0));
    const names = [
      "minimal_backoff_time",
      "maximal_backoff_time",
      "queue_run_delay",
      "hopcount_limit",
    ];
    const done = await Promise.all(names.map((name) => postconf("-e", `${name} = 4000`)));
    assert.deepEqual(
      done.map(({ err }) => err),
      ["", "", "", ""],
    );
    assert.deepEqual(
      read().trimEnd().split("\n").toSorted(),
      names.map((name) => `${name} = 4000`).toSorted(),
    );
  });

  it("says what is wrong with its arguments in Postfix's words, exit 1", async () => {
    write("");
    const said = async (...args: readonly string[]) => {
      const { code, err } = await postconf(...args);
      assert.equal(code, 1);
      return err;
    };
    assert.equal(await said("-e"), "postconf: fatal: -e requires name=value argument\n");
    assert.equal(
      await said("-e", "x"),
      "postconf: fatal: missing '=' after attribute name: \"x\"\n",
    );
    assert.equal(await said("=x"), 'postconf: fatal: missing attribute name: "=x"\n');
    assert.equal(await said("-nd"), "postconf: fatal: specify one of -d -n\n");
    assert.match(
      await said("-Z"),
      /^postconf: invalid option -- 'Z'\npostconf: fatal: usage: postconf/,
    );
    assert.match(await said("-M"), /^postconf: fatal: -M is about master\.cf/);
    const away = await command.run(["postconf", "-c", "/nonexistent", "-n"]);
    assert.equal(away.code, 1);
    assert.match(away.err, /^postconf: fatal: open \/nonexistent.*: No such file or directory$/m);
  });
});
