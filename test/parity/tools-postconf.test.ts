/**
 * postconf beside Postfix's own, for parameters that both know, and postqueue's usage and failures.
 *
 * Source: postconf(1), postqueue(1); spec admin-tools.md §1, §6.
 */
import assert from "node:assert/strict";
import { chmod, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, afterEach, before, beforeEach, describe, it } from "node:test";

import { PrivatePostfix, run, startRedis } from "@postmq/testing";
import type { RedisServer } from "@postmq/testing";

import { ParityTable } from "../support/parity-table.ts";
import type { ToolRan } from "../support/postfix-spool.ts";
import { PostmqQueue } from "../support/postmq-queue.ts";

const program = join(import.meta.dirname, "../../packages/commands/bin/postmq");

const mainCf = `# a relay
myhostname = mail.example.com
mydomain=example.org
relayhost = [mx.example.com]:26
mynetworks = 127.0.0.0/8,
# the office
	192.0.2.0/24   198.51.100.0/24
myorigin = \${mydomain}
bounce_queue_lifetime = 2d
bounce_queue_lifetime = 3d
notify_classes =
`;

describe("postconf beside Postfix's", () => {
  const table = new ParityTable();
  let root: string;
  const sides = () => ({ postfix: join(root, "postfix.d"), postmq: join(root, "postmq.d") });

  beforeEach(async () => {
    root = await mkdtemp("/var/tmp/postmq-postconf-");
    for (const directory of Object.values(sides())) {
      await run("mkdir", ["-p", directory]);
      await writeFile(join(directory, "main.cf"), mainCf);
      await writeFile(join(directory, "master.cf"), "smtp unix - - n - - smtp\n");
      await chmod(join(directory, "main.cf"), 0o640);
    }
  });
  afterEach(() => rm(root, { recursive: true }));
  after(() => console.log(`\n${table.toString()}\n`));

  /** Runs both on a main.cf of their own, and compares what they said and what is in it then. */
  async function compare(...args: readonly string[]): Promise<ToolRan> {
    const { postfix, postmq } = sides();
    const env = { PATH: "/usr/sbin:/usr/bin:/bin" };
    const [theirs, ours] = await Promise.all([
      run("/usr/sbin/postconf", ["-c", postfix, ...args], { env }),
      run(program, ["postconf", "-c", postmq, ...args], { env }),
    ]);
    // Postfix counts its directory among what is set, and tells each reading of a name that is set twice.
    const said = (ran: typeof theirs, directory: string): ToolRan => ({
      code: ran.code,
      out: ran.stdout.replaceAll(/^(?:config_directory = )?\/.*\.d\n|^config_directory\n/gm, ""),
      err: ran.stderr
        .replaceAll("/usr/sbin/", "")
        .replaceAll(/^postconf: warning: .*: overriding earlier entry: .*\n/gm, "")
        .replaceAll(directory, "DIR"),
    });
    const answers = { postfix: said(theirs, postfix), postmq: said(ours, postmq) };
    const files = {
      postfix: await readFile(join(postfix, "main.cf"), "utf8"),
      postmq: await readFile(join(postmq, "main.cf"), "utf8"),
    };
    const isSame =
      JSON.stringify(answers.postfix) === JSON.stringify(answers.postmq) &&
      files.postfix === files.postmq;
    table.add("postconf", args.join(" "), {
      postfix: `exit ${theirs.code}, ${theirs.stdout.split("\n").length - 1} lines`,
      postmq: isSame ? "the same" : "DIFFERS",
    });
    assert.deepEqual(answers.postmq, answers.postfix, args.join(" "));
    assert.equal(files.postmq, files.postfix, args.join(" "));
    return answers.postmq;
  }

  it("shows values, names, defaults, expanded and folded ones in the same form", async () => {
    await compare("-n");
    await compare("-nh");
    await compare("-nH");
    await compare("-nf");
    await compare("-nx");
    await compare("relayhost", "myorigin", "mynetworks", "notify_classes", "queue_run_delay");
    await compare("-x", "myorigin", "mynetworks");
    await compare("-h", "relayhost", "notify_classes");
    await compare("-H", "relayhost");
    await compare("-d", "relayhost", "myorigin", "minimal_backoff_time", "bounce_queue_lifetime");
    await compare("-p", "maximal_queue_lifetime");
    await compare("smtp_destination_concurrency_limit", "smtp_destination_rate_delay");
    await compare("no_such_parameter", "relayhost");
  });

  it("has Postfix's defaults, but for those that docs/spec/parameters.md names", async () => {
    const { postfix, postmq } = sides();
    const env = { PATH: "/usr/sbin:/usr/bin:/bin" };
    const theirs = await run("/usr/sbin/postconf", ["-c", postfix, "-d"], { env });
    const ours = await run(program, ["postconf", "-c", postmq, "-d"], { env });
    const byName = (text: string) =>
      new Map(text.split("\n").map((line) => [line.replace(/ =.*/, ""), line] as const));
    const [known, here] = [byName(theirs.stdout), byName(ours.stdout)];
    const both = [...here.keys()].filter((name) => known.has(name));
    const differing = both.filter((name) => known.get(name) !== here.get(name));
    table.add(
      "postconf -d",
      "names that both know, and of them with another default",
      {
        postfix: both.length,
        postmq: differing.length,
      },
      "parameters.md",
    );
    assert.ok(both.length > 150);
    const spec = await readFile(join(import.meta.dirname, "../../docs/spec/parameters.md"), "utf8");
    const told = spec.slice(spec.indexOf("Defaults that differ from Postfix:"));
    const isTold = (name: string) => new RegExp(`\`${name}[\` ]`).test(told);
    assert.deepEqual(
      differing.filter((name) => !isTold(name)),
      [],
    );
  });

  it("changes main.cf to the same text", async () => {
    await compare("-e", "relayhost = [mx2.example.com]");
    await compare("mynetworks=10.0.0.0/8", "maximal_backoff_time =  2000s ");
    await compare("-e", "bounce_queue_lifetime=4d");
    await compare("-e", "relayhost=");
    await compare("-X", "mynetworks");
    await compare("-#", "relayhost", "mydomain");
    await compare("-e", "relayhost=a", "relayhost=[b.example.com]");
    await compare("-n");
  });

  it("refuses in the same words", async () => {
    await compare("-e");
    await compare("-e", "relayhost");
    await compare("-e", "=x");
    await compare("-e", "#x=y");
    await compare("-e", "relayhost=a\nb");
    await compare("-X", "relayhost=");
    await compare("-nd");
    await compare("-hH", "relayhost");
    await compare("-ex", "relayhost=a");
  });
});

describe("postqueue's usage and failures beside Postfix's", () => {
  const table = new ParityTable();
  let redis: RedisServer;
  let dir: string;
  let postfix: PrivatePostfix;
  let postmq: PostmqQueue;

  before(async () => {
    redis = await startRedis();
    dir = await mkdtemp("/var/tmp/postmq-postqueue-");
    await chmod(dir, 0o755);
    postfix = await PrivatePostfix.start(join(dir, "postfix"), 1);
    postmq = await PostmqQueue.fill(redis.url, []);
  });
  after(async () => {
    await postfix[Symbol.asyncDispose]();
    await postmq[Symbol.asyncDispose]();
    await redis.stop();
    await rm(dir, { recursive: true, force: true });
    console.log(`\n${table.toString()}\n`);
  });

  /** But for the status of bad usage: Debian's 3.7 ends with 69 there, postqueue(1) says 64. */
  async function compare(...words: readonly string[]): Promise<void> {
    const [tool = "", ...args] = words;
    const env = { MAIL_CONFIG: join(dir, "postfix", "etc"), PATH: "/usr/sbin:/usr/bin:/bin" };
    const ran = await run(`/usr/sbin/${tool}`, args, { env });
    const err = ran.stderr.replaceAll("/usr/sbin/", "");
    const theirs: ToolRan = { code: ran.code, out: ran.stdout, err };
    const ours = await postmq.run(words);
    if (ours.code === 64) assert.equal(theirs.code, 69);
    const isSame = JSON.stringify(theirs) === JSON.stringify(ours);
    const shown = (said: ToolRan) => `exit ${said.code}, ${said.err.trim().slice(0, 50)}`;
    table.add(
      "postqueue",
      words.join(" "),
      { postfix: shown(theirs), postmq: isSame ? "the same" : shown(ours) },
      isSame ? "" : "§1: 64 as postqueue(1) has it",
    );
    const code = ours.code === 64 ? 69 : ours.code;
    assert.deepEqual({ ...ours, code }, theirs, words.join(" "));
  }

  it("are the same for flushes of what is not there", async () => {
    await compare("postqueue", "-f");
    await compare("sendmail", "-q");
    await compare("postqueue", "-i", "4jXVPf2kl5z00032H");
    await compare("postqueue", "-i", "a/b");
    await compare("postqueue", "-i", "");
    await compare("postqueue", "-s", "not-fast.example.com");
    await compare("postqueue", "-s", "bad site");
  });

  it("are the same for usage", async () => {
    await compare("postqueue");
    await compare("postqueue", "-x");
    await compare("postqueue", "-i");
    await compare("postqueue", "-p", "-f");
    await compare("postqueue", "-p", "operand");
  });
});
