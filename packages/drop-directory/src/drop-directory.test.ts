import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import {
  appendFileSync,
  chmodSync,
  chownSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  unlinkSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, it } from "node:test";

import { isPostmqError, makeQueueId } from "@postmq/vocabulary";
import type { QueueId } from "@postmq/vocabulary";

import { listDropped, purgeStaleTemporaries, removeDropped, setAside } from "./directory.ts";
import type { DroppedMessage } from "./drop-header.ts";
import { dropMessage } from "./drop-message.ts";
import { openDropped } from "./dropped-file.ts";

const id = makeQueueId(1_795_289_730_000_123, 4711);
const message: DroppedMessage = {
  id,
  arrivalMs: 1_795_289_730_000,
  envelope: {
    sender: "alice@example.com",
    origin: "sendmail",
    fullName: "Alice Ä",
    encoding: "8bit",
    envid: "E+1",
    ret: "HDRS",
    verpDelimiters: "+=",
    extractRecipients: true,
    client: { name: "localhost", address: "", protocol: "", uid: 1234 },
  },
  recipients: [
    { address: "bob@example.net", notify: ["FAILURE", "DELAY"] },
    { address: '"a b"@example.net' },
  ],
};
const content = [
  Buffer.from("Subject: x\r\n\r\n\u00FF"),
  Buffer.alloc(600_000, 0x2e),
  Buffer.from([0, 255, 10]),
];

let directory: string;

async function readBack(name: QueueId): Promise<Buffer> {
  await using file = await openDropped(directory, name);
  assert.ok(file);
  return Buffer.concat(await Array.fromAsync(file.readContent()));
}

async function assertUnreadable(reason: RegExp, name: QueueId = id): Promise<void> {
  await assert.rejects(
    () => readBack(name),
    (error) => isPostmqError(error, "PMQ_MESSAGE_UNREADABLE") && reason.test(error.message),
  );
}

/** Writes a file whose header line is altered. */
function rewriteHeader(alter: (header: Record<string, unknown>) => unknown): void {
  const path = join(directory, id);
  const bytes = readFileSync(path);
  const end = bytes.indexOf(0x0a);
  const header: Record<string, unknown> = JSON.parse(bytes.subarray(0, end).toString());
  writeFileSync(
    path,
    Buffer.concat([Buffer.from(`${JSON.stringify(alter(header))}\n`), bytes.subarray(end + 1)]),
  );
}

describe("the drop directory", () => {
  beforeEach(() => {
    directory = join(mkdtempSync(join(tmpdir(), "postmq-drop-")), "maildrop");
  });
  afterEach(() => rmSync(join(directory, ".."), { recursive: true, force: true }));

  it("gives back envelope, recipients and content as they were handed in", async () => {
    await dropMessage(directory, message, content);
    assert.deepEqual(await listDropped(directory), [id]);
    await using file = await openDropped(directory, id);
    assert.deepEqual(file?.message, message);
    assert.deepEqual(await readBack(id), Buffer.concat(content));
  });

  it("keeps empty content", async () => {
    await dropMessage(directory, message, []);
    assert.equal((await readBack(id)).length, 0);
  });

  it("Q8: shows nothing under the message's name until it is whole, and leaves no temporary file", async () => {
    await dropMessage(directory, message, content);
    assert.deepEqual(readdirSync(directory), [id]);
    const temporary = join(directory, `${id}.tmp`);
    renameSync(join(directory, id), temporary);
    assert.deepEqual(await listDropped(directory), []);
  });

  it("Q8: leaves nothing behind when it can't be written", async () => {
    mkdirSync(directory, { mode: 0o700 });
    mkdirSync(join(directory, id));
    await assert.rejects(() => dropMessage(directory, message, content));
    assert.deepEqual(readdirSync(directory), [id]);
  });

  it("lets nobody else read or write what it makes", async () => {
    await dropMessage(directory, message, content);
    assert.equal(statSync(directory).mode & 0o777, 0o700);
    assert.equal(statSync(join(directory, id)).mode & 0o777, 0o600);
  });

  it("refuses a directory in which anybody could swap files", async () => {
    mkdirSync(directory);
    chmodSync(directory, 0o777);
    await assert.rejects(() => dropMessage(directory, message, content), /not sticky/);
    chmodSync(directory, 0o1777);
    await dropMessage(directory, message, content);
  });

  it("makes missing directories on the way, and ends with an error where none can be made", async () => {
    const deep = join(directory, "a", "b");
    await dropMessage(deep, message, content);
    assert.deepEqual(await listDropped(deep), [id]);
    await assert.rejects(() => dropMessage("/proc/nowhere/maildrop", message, content));
  });

  it("sees a torn file", async () => {
    await dropMessage(directory, message, content);
    const { size } = statSync(join(directory, id));
    truncateSync(join(directory, id), size - 1);
    await assertUnreadable(/wrong length/);
    truncateSync(join(directory, id), 20);
    await assertUnreadable(/ends within its header/);
    truncateSync(join(directory, id), 0);
    await assertUnreadable(/ends within its header/);
  });

  it("sees bytes that were added or changed", async () => {
    await dropMessage(directory, message, content);
    const bytes = readFileSync(join(directory, id));
    appendFileSync(join(directory, id), "x");
    await assertUnreadable(/wrong length/);
    bytes[bytes.length - 2] = 1;
    writeFileSync(join(directory, id), bytes);
    await assertUnreadable(/wrong checksum/);
  });

  it("9: opens no symbolic link, hard link, FIFO or directory, and never waits", async () => {
    await dropMessage(directory, message, content);
    const outside = join(directory, "..", "outside");
    renameSync(join(directory, id), outside);
    symlinkSync(outside, join(directory, id));
    await assertUnreadable(/not a regular file/);
    unlinkSync(join(directory, id));
    linkSync(outside, join(directory, id));
    await assertUnreadable(/more than one name/);
    unlinkSync(join(directory, id));
    execFileSync("mkfifo", [join(directory, id)]);
    await assertUnreadable(/not a regular file/);
    unlinkSync(join(directory, id));
    mkdirSync(join(directory, id));
    await assertUnreadable(/not a regular file/);
  });

  it("9: takes no name for a message that is not a queue id", async () => {
    await dropMessage(directory, message, content);
    for (const name of ["..x", "a.b", `${id}.tmp`, "a b", "-"]) {
      writeFileSync(join(directory, name), "");
    }
    assert.deepEqual(await listDropped(directory), [id]);
  });

  it("9: reads the file it opened, whatever is put in its place meanwhile", async () => {
    await dropMessage(directory, message, content);
    await using file = await openDropped(directory, id);
    assert.ok(file);
    assert.equal(await file.isStillThere(), true);
    unlinkSync(join(directory, id));
    writeFileSync(join(directory, id), "other");
    assert.equal(await file.isStillThere(), false);
    assert.deepEqual(
      Buffer.concat(await Array.fromAsync(file.readContent())),
      Buffer.concat(content),
    );
  });

  it("9: refuses a file that others than its owner can write to", async () => {
    await dropMessage(directory, message, content);
    chmodSync(join(directory, id), 0o620);
    await assertUnreadable(/writable by others/);
  });

  it(
    "names the file's owner as the user, whatever the file says",
    { skip: process.geteuid?.() !== 0 },
    async () => {
      await dropMessage(directory, message, content);
      chownSync(join(directory, id), 4321, 4321);
      await using file = await openDropped(directory, id);
      assert.equal(file?.message.envelope.client?.uid, 4321);
    },
  );

  it("refuses a file whose name is not the id in it", async () => {
    await dropMessage(directory, message, content);
    const other = makeQueueId(1_795_289_731_000_000, 1);
    renameSync(join(directory, id), join(directory, other));
    await assertUnreadable(/not its queue id/, other);
  });

  it("3, 8: refuses unknown members, prototype members and control characters", async () => {
    await dropMessage(directory, message, content);
    const pristine = readFileSync(join(directory, id));
    const assertRefused = async (alter: (header: Record<string, unknown>) => unknown) => {
      writeFileSync(join(directory, id), pristine);
      rewriteHeader(alter);
      await assertUnreadable(/./);
    };
    await assertRefused((header) => ({ ...header, queue: "active" }));
    await assertRefused((header) => ({ ...header, envelope: { sender: "a@b.c", isAdmin: true } }));
    await assertRefused((header) => ({
      ...header,
      envelope: JSON.parse('{"sender":"","__proto__":{}}'),
    }));
    await assertRefused((header) => ({
      ...header,
      envelope: { sender: "a@b.c\r\nRCPT TO:<x@y.z>" },
    }));
    await assertRefused((header) => ({ ...header, recipients: [{ address: "a\u0000@b.c" }] }));
    await assertRefused((header) => ({
      ...header,
      recipients: [{ address: "a@b.c", notify: ["X"] }],
    }));
    await assertRefused((header) => ({ ...header, id: "../../etc/passwd" }));
    await assertRefused((header) => ({ ...header, contentBytes: -1 }));
    await assertRefused(() => null);
    writeFileSync(join(directory, id), "no json\n");
    await assertUnreadable(/not JSON/);
  });

  it("removes a message that was taken in, and does not mind when it is gone", async () => {
    await dropMessage(directory, message, content);
    await removeDropped(directory, id);
    await removeDropped(directory, id);
    assert.deepEqual(readdirSync(directory), []);
    assert.equal(await openDropped(directory, id), undefined);
  });

  it("keeps what is unreadable, also twice under one name", async () => {
    mkdirSync(directory);
    writeFileSync(join(directory, id), "one");
    assert.equal(await setAside(directory, id), `${id}.corrupt`);
    writeFileSync(join(directory, id), "two");
    assert.equal(await setAside(directory, id), `${id}.corrupt.1`);
    assert.equal(await setAside(directory, id), undefined);
    assert.equal(readFileSync(join(directory, `${id}.corrupt`), "utf8"), "one");
    assert.equal(readFileSync(join(directory, `${id}.corrupt.1`), "utf8"), "two");
  });

  it("Q8: purges half-written files of more than 7 days, and no others", async () => {
    mkdirSync(directory);
    const nowMs = Date.now();
    const oldS = nowMs / 1000 - 7 * 24 * 3600 - 10;
    const fresh = makeQueueId(1_795_289_731_000_000, 2);
    for (const name of [`${id}.tmp`, `${id}.corrupt`, id, "notes.txt.tmp"]) {
      writeFileSync(join(directory, name), "");
      utimesSync(join(directory, name), oldS, oldS);
    }
    writeFileSync(join(directory, `${fresh}.tmp`), "");
    assert.equal(await purgeStaleTemporaries(directory, nowMs), 1);
    assert.deepEqual(
      readdirSync(directory).toSorted(),
      [`${fresh}.tmp`, `${id}.corrupt`, id, "notes.txt.tmp"].toSorted(),
    );
  });
});
