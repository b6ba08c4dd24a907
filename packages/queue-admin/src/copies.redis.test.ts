import assert from "node:assert/strict";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { gzipSync } from "node:zlib";

import { checkInstance } from "@postmq/queue-store";
import type { Copying, ListedMessage, MessageCopy, MovingAway, Store } from "@postmq/queue-store";
import { startRedis, withStore } from "@postmq/testing";
import type { RedisServer, StoreUnderTest } from "@postmq/testing";
import { enhancedStatus, PostmqError } from "@postmq/vocabulary";
import type { QueueId } from "@postmq/vocabulary";

import { moveMessages } from "./aside-messages.ts";
import type { MovingSide } from "./aside-messages.ts";
import { ExportFile } from "./export-file.ts";
import { endLine, headerLine } from "./export-format.ts";
import type { ExportCounts } from "./export-format.ts";
import { exportAndDelete, exportMessages } from "./export-messages.ts";
import { finishMoves } from "./finish-moves.ts";
import { importMessages } from "./import-messages.ts";
import type { ImportCounts, ImportOptions } from "./import-messages.ts";

const exportId = "0123456789abcdef0123456789abcdef";

type Sides = {
  readonly here: Store;
  readonly copying: Copying & MovingAway;
  readonly from: MovingSide;
  readonly to: MovingSide;
  readonly thereName: string;
  readonly directory: string;
};

let redis: RedisServer;
before(async () => {
  redis = await startRedis();
});
after(() => redis.stop());

/** Two instances of one Redis, and a directory; both are consistent in the end. */
async function withSides(test: (sides: Sides) => Promise<void>): Promise<void> {
  const directory = await mkdtemp(join(tmpdir(), "postmq-copies-"));
  try {
    await withStore(
      async (under: StoreUnderTest) => {
        const thereName = `${under.instanceName}-aside`;
        const there = await under.openAnother({ instanceName: thereName });
        const copying = under.store.copying();
        const from = { name: under.instanceName, copying };
        const to = { name: thereName, copying: there.copying() };
        await test({ here: under.store, copying, from, to, thereName, directory });
        for (const name of [under.instanceName, thereName]) {
          assert.deepEqual(await checkInstance(redis.url, name), []);
        }
      },
      { redis },
    );
  } finally {
    await rm(directory, { recursive: true });
  }
}

/** How many messages stand as moving there. */
async function countMoving(copying: MovingAway): Promise<number> {
  return (await Array.fromAsync(copying.moving(Number.MAX_SAFE_INTEGER))).flat().length;
}

/** Messages in deferred, one of them large, one of them with a recipient that is done. */
async function fill(sides: Sides, count: number): Promise<readonly QueueId[]> {
  const { here, copying } = sides;
  const intake = here.intake();
  const ids: QueueId[] = [];
  for (let i = 0; i < count; i += 1) {
    const id = intake.newId();
    const writer = copying.openContent(id);
    const body = "x".repeat(i === 1 ? 600_000 : 10);
    await writer.write(Buffer.from(`Subject: ${i}\r\n\r\n${body}\r\n`));
    await copying.restore([{ copy: copyOf(id, i), content: await writer.finish() }]);
    ids.push(id);
  }
  return ids;
}

function copyOf(id: QueueId, i: number): MessageCopy {
  const status = enhancedStatus("4.4.1");
  return {
    id,
    queue: "deferred",
    arrivalMs: 1_700_000_000_000.125 + i,
    createdMs: 1_700_000_000_000,
    envelope: { sender: "from@sender.example", origin: "smtp" },
    recipients: [
      { address: "done@example.com", state: { kind: "done" } },
      {
        address: `u${i}@dead.example`,
        state: {
          kind: "deferred",
          status,
          reason: "connect to dead.example[192.0.2.1]:25: refused",
        },
      },
    ],
    attempts: 3,
    lastAttemptMs: 1_700_000_001_000,
    dueMs: 1_900_000_000_000,
    isForceExpired: false,
    wasWarned: true,
    isFinished: false,
  };
}

async function* pagesOf(ids: readonly QueueId[]): AsyncGenerator<readonly QueueId[]> {
  for (let at = 0; at < ids.length; at += 20) yield ids.slice(at, at + 20);
}

async function last<T>(steps: AsyncIterable<T>): Promise<T | undefined> {
  let latest: T | undefined;
  for await (const step of steps) latest = step;
  return latest;
}

async function copiesIn(side: MovingSide, ids: readonly QueueId[]): Promise<readonly unknown[]> {
  const reads = await side.copying.readCopies(ids);
  return reads.map((read) => (typeof read === "string" ? read : read.copy));
}

const header = (deletes: boolean) =>
  headerLine({ exportId, instance: "x", exportedAtMs: 0, deletes });

async function exportTo(sides: Sides, path: string, ids: readonly QueueId[]): Promise<void> {
  await using file = await ExportFile.create(path);
  await file.write(header(false));
  const counts = await last(exportMessages(sides.copying, file, pagesOf(ids)));
  await file.write(endLine(counts ?? { messages: 0, busy: 0, unreadable: 0 }));
}

async function importFrom(
  sides: Sides,
  copying: Copying,
  content: string | Buffer,
  options: Partial<ImportOptions> = {},
): Promise<{ readonly counts: ImportCounts | undefined; readonly damage: readonly string[] }> {
  const damage: string[] = [];
  const steps = importMessages(copying, inPieces(Buffer.from(content)), {
    toHold: false,
    isDryRun: false,
    fromStart: false,
    nowMs: () => sides.here.clock.nowMs(),
    onDamage: (line, why) => damage.push(`${line}: ${why}`),
    ...options,
  });
  return { counts: await last(steps), damage };
}

/** Of an odd size, so that lines and parts are cut anywhere. */
async function* inPieces(content: Buffer): AsyncGenerator<Buffer> {
  for (let at = 0; at < content.length; at += 40_001) yield content.subarray(at, at + 40_001);
}

describe("moveMessages", () => {
  it("moves messages as they are, and back, and leaves what is claimed", () =>
    withSides(async (sides) => {
      const { from, to } = sides;
      const ids = await fill(sides, 130);
      const before = await copiesIn(from, ids);
      const absent = sides.here.intake().newId();
      const counts = await last(moveMessages(from, to, pagesOf([...ids, absent])));
      assert.deepEqual(counts, { moved: 130, busy: 0, taken: 0, unreadable: 0 });
      assert.deepEqual(await copiesIn(to, ids), before);
      assert.deepEqual(new Set(await copiesIn(from, ids)), new Set(["absent"]));
      assert.equal(await countMoving(from.copying), 0);
      await last(moveMessages(to, from, pagesOf(ids)));
      assert.deepEqual(await copiesIn(from, ids), before);
      assert.deepEqual(new Set(await copiesIn(to, ids)), new Set(["absent"]));
    }));

  it("goes on when a large message goes away while it is read", () =>
    withSides(async (sides) => {
      const { here, to, copying } = sides;
      const ids = await fill(sides, 3);
      const deleting = proxied(copying, {
        async *readContent(content) {
          await here.acting().act("delete", ids.slice(1, 2));
          yield* copying.readContent(content);
        },
      });
      const counts = await last(
        moveMessages({ ...sides.from, copying: deleting }, to, pagesOf(ids)),
      );
      assert.deepEqual(counts, { moved: 2, busy: 1, taken: 0, unreadable: 0 });
    }));

  it("leaves a message whose id is over there", () =>
    withSides(async (sides) => {
      const { from, to } = sides;
      const [id] = await fill(sides, 1);
      assert.ok(id !== undefined);
      const other = { ...copyOf(id, 0), attempts: 9 };
      const content = { contentId: id, sizeBytes: 0, chunks: 0, inline: Buffer.alloc(0) };
      await to.copying.restore([{ copy: other, content }]);
      const counts = await last(moveMessages(from, to, pagesOf([id])));
      assert.deepEqual(counts, { moved: 0, busy: 0, taken: 1, unreadable: 0 });
      assert.deepEqual(await copiesIn(to, [id]), [other]);
      assert.deepEqual(await copiesIn(from, [id]), [copyOf(id, 0)]);
    }));
});

describe("finishMoves", () => {
  it("P2 goes on from any step that somebody died at, and takes back what was on its way into a file", () =>
    withSides(async (sides) => {
      const { from, to } = sides;
      const ids = await fill(sides, 6);
      const reads = (await from.copying.readCopies(ids)).filter((read) => typeof read !== "string");
      const moves = reads.map((read) => from.copying.moveOf(read));
      const marks = reads.map((read) => ({
        move: from.copying.moveOf(read),
        version: read.version,
      }));
      const before = await copiesIn(from, ids);
      // Nothing is over there of 0, a copy of 1, 2 is ready, 3 is dropped; 4 goes into a file; 5 is another's over there.
      await from.copying.markMoving(marks.slice(0, 4), to.name);
      await from.copying.markMoving(marks.slice(4, 5), "file:x");
      await from.copying.markMoving(marks.slice(5), to.name);
      const empty = { chunks: 0, sizeBytes: 0, inline: Buffer.alloc(0) };
      for (const i of [1, 2, 3, 5]) {
        const [read, move] = [reads[i], moves[i]];
        assert.ok(read !== undefined && move !== undefined);
        const content = { ...empty, contentId: read.copy.id };
        if (i === 5) await to.copying.restore([{ copy: read.copy, content }]);
        else await to.copying.restoreComing([{ copy: read.copy, content, move }]);
      }
      await to.copying.makeReady(moves.slice(2, 4));
      await from.copying.dropMoved(moves.slice(3, 4));
      const withInstance = <T>(_name: string, use: (there: MovingSide["copying"]) => Promise<T>) =>
        use(to.copying);
      const late = { markedBeforeMs: sides.here.clock.nowMs() - 60_000, withInstance };
      const nothing = { moved: 0, putBack: 0, unfinished: [] };
      assert.deepEqual(await finishMoves(from.copying, late), nothing);
      const now = { markedBeforeMs: sides.here.clock.nowMs() + 1000, withInstance };
      const ended = await finishMoves(from.copying, now);
      assert.deepEqual(ended, { moved: 3, putBack: 2, unfinished: [] });
      assert.equal(await countMoving(from.copying), 0);
      const places = await Promise.all([copiesIn(from, ids), copiesIn(to, ids)]);
      const where = ids.map((_, i) =>
        places.map((side) => (side[i] === "absent" ? "-" : "x")).join(""),
      );
      assert.deepEqual(where, ["-x", "-x", "-x", "-x", "x-", "xx"]);
      assert.deepEqual(places[0].slice(4), before.slice(4));
      assert.deepEqual(await finishMoves(from.copying, now), nothing);
    }));

  it("P9 ends what it can while an instance is away and Redis has no room, and the rest later", () =>
    withSides(async (sides) => {
      const { from, to } = sides;
      const ids = await fill(sides, 4);
      const before = await copiesIn(from, ids);
      // Of 2 a whole copy is over there, of the large one nothing.
      const targets = ["dead", to.name, to.name, "file:x"];
      for (const [i, read] of (await from.copying.readCopies(ids)).entries()) {
        assert.ok(typeof read !== "string");
        const { copy, version } = read;
        const move = from.copying.moveOf(read);
        const content = { chunks: 0, sizeBytes: 0, inline: Buffer.alloc(0), contentId: copy.id };
        if (i === 2) await to.copying.restoreComing([{ copy, content, move }]);
        await from.copying.markMoving([{ move, version }], targets[i] ?? "");
      }
      const markedBeforeMs = sides.here.clock.nowMs() + 1000;
      const full = proxied(to.copying, { restoreComing: failing("PMQ_STORE_FULL") });
      const away = failing("PMQ_STORE_UNREACHABLE");
      const { unfinished, ...ended } = await finishMoves(from.copying, {
        markedBeforeMs,
        withInstance: (name, use) => (name === "dead" ? away() : use(full)),
      });
      assert.deepEqual(ended, { moved: 1, putBack: 1 });
      assert.deepEqual(
        new Map(unfinished.map(({ to: name, error }) => [name, error.code])),
        new Map([
          ["dead", "PMQ_STORE_UNREACHABLE"],
          [to.name, "PMQ_STORE_FULL"],
        ]),
      );
      assert.deepEqual(await copiesIn(from, ids), ["absent", "absent", "absent", before[3]]);
      assert.equal(await countMoving(from.copying), 2);
      // What can't be read whole is in its queue again.
      const torn = proxied(from.copying, { readContent: tornContent });
      assert.deepEqual(
        await finishMoves(torn, { markedBeforeMs, withInstance: (_name, use) => use(to.copying) }),
        { moved: 1, putBack: 1, unfinished: [] },
      );
      assert.deepEqual(await copiesIn(from, ids), ["absent", before[1], "absent", before[3]]);
      assert.deepEqual(await copiesIn(to, ids), [before[0], "absent", before[2], "absent"]);
    }));

  it("ends moves however many to an instance that is away stand before them", () =>
    withSides(async (sides) => {
      const { from } = sides;
      const ids = await fill(sides, 124);
      for (const [some, to] of [
        [ids.slice(0, 120), "dead"],
        [ids.slice(120), "file:x"],
      ] as const) {
        const marks = (await from.copying.readCopies(some)).map((read) => {
          assert.ok(typeof read !== "string");
          return { move: from.copying.moveOf(read), version: read.version };
        });
        await from.copying.markMoving(marks, to);
      }
      const { unfinished, ...ended } = await finishMoves(from.copying, {
        markedBeforeMs: sides.here.clock.nowMs() + 1000,
        withInstance: failing("PMQ_STORE_UNREACHABLE"),
      });
      assert.deepEqual(ended, { moved: 0, putBack: 4 });
      assert.deepEqual(
        unfinished.map(({ to }) => to),
        ["dead"],
      );
      assert.equal(await countMoving(from.copying), 120);
    }));

  it("lists an instance again that was removed before its mail came, but not the one that it comes back to", () =>
    withSides(async (sides) => {
      const { from, to } = sides;
      const ids = await fill(sides, 1);
      for (const [side, other] of [
        [from, to],
        [to, from],
      ] as const) {
        const [read] = await side.copying.readCopies(ids);
        assert.ok(read !== undefined && typeof read !== "string");
        const marks = [{ move: side.copying.moveOf(read), version: read.version }];
        await side.copying.markMoving(marks, other.name);
        const { moved } = await finishMoves(side.copying, {
          markedBeforeMs: sides.here.clock.nowMs() + 1000,
          withInstance: (_name, use) => use(other.copying),
        });
        assert.equal(moved, 1);
        assert.deepEqual(await from.copying.asideNames(), [to.name]);
      }
      assert.deepEqual(await to.copying.asideNames(), []);
    }));
});

describe("export and import", () => {
  it("bring messages into another instance as they were, whatever the pieces of the file", () =>
    withSides(async (sides) => {
      const { from, to, directory } = sides;
      const ids = await fill(sides, 70);
      const path = join(directory, "out");
      await exportTo(sides, path, ids);
      const text = await readFile(path, "utf8");
      assert.equal(text.split("\n").length, 70 + 3);
      const { counts, damage } = await importFrom(sides, to.copying, text);
      assert.deepEqual(damage, []);
      assert.deepEqual(counts, { ...zero, restored: 70, isWhole: true });
      assert.deepEqual(await copiesIn(to, ids), await copiesIn(from, ids));
      assert.deepEqual(await contentsIn(to, ids), await contentsIn(from, ids));
      const again = await importFrom(sides, to.copying, text);
      assert.deepEqual(again.counts, { ...zero, already: 70, isWhole: true });
    }));

  it("import --hold parks everything, and a dry run changes nothing", () =>
    withSides(async (sides) => {
      const { to, directory } = sides;
      const ids = await fill(sides, 3);
      const path = join(directory, "out");
      await exportTo(sides, path, ids);
      const text = await readFile(path, "utf8");
      const dry = await importFrom(sides, to.copying, text, { isDryRun: true });
      assert.deepEqual(dry.counts, { ...zero, restored: 3, isWhole: true });
      assert.deepEqual(await copiesIn(to, ids), ["absent", "absent", "absent"]);
      await importFrom(sides, to.copying, text, { toHold: true });
      const reads = await to.copying.readCopies(ids);
      assert.deepEqual(
        reads.map((read) => (typeof read === "string" ? read : read.copy.queue)),
        ["hold", "hold", "hold"],
      );
    }));

  it("damaged entries go to corrupt with the reason, and the import goes on", () =>
    withSides(async (sides) => {
      const { here, copying, directory } = sides;
      const ids = await fill(sides, 7);
      const path = join(directory, "out");
      await exportTo(sides, path, ids);
      await here.acting().act("delete", ids);
      const lines = (await readFile(path, "utf8")).trimEnd().split("\n");
      const damaged = [
        lines[0],
        lines[1]?.slice(0, 200),
        lines[2],
        lines[3]?.replace('"queue":"deferred"', '"queue":"active"'),
        lines[4]?.replace('"content":["', '"content":["!!'),
        lines[5]?.replace("u4@dead.example", String.raw`u4@dead.example>\r\nRCPT TO:<x@y`),
        lines[6]?.replace('"size_bytes":2', '"size_bytes":9'),
        lines[7],
        "\u001B[2Jrubbish",
        `{"id":"${ids[6]}"}`,
        "\u001B[2Jrubbish",
        "",
      ].join("\n");
      const { counts, damage } = await importFrom(sides, copying, damaged);
      assert.deepEqual(counts, { ...zero, restored: 2, damaged: 8 });
      assert.deepEqual(
        damage.map((text) => text.replace(/(is no JSON|is missing).*/, "$1")),
        [
          "2: is no JSON",
          "4: queue is none that a message rests in",
          "5: has content that is no base64",
          "6: address has control characters in it",
          "7: has content of another size",
          "9: is no JSON",
          "10: queue is missing",
          "11: is no JSON",
        ],
      );
      const there = (await copiesIn(sides.from, ids)).map((copy) =>
        copy === "absent" ? "-" : "x",
      );
      assert.equal(there.join(""), "-x----x");
      // What is the same is there once.
      const corrupt = await corruptIn(here);
      const named = (i: number) => `; it names the id ${ids[i]}`;
      assert.deepEqual(
        corrupt.map(({ corruptReason }) => corruptReason),
        [
          `line 10 of an import queue is missing${named(6)}`,
          `line 2 of an import is no JSON${named(0)}`,
          `line 4 of an import queue is none that a message rests in${named(2)}`,
          `line 5 of an import has content that is no base64${named(3)}`,
          `line 6 of an import address has control characters in it${named(4)}`,
          `line 7 of an import has content of another size${named(5)}`,
          "line 9 of an import is no JSON",
        ],
      );
      const texts = await contentsIn(
        sides.from,
        corrupt.map(({ id }) => id),
      );
      assert.equal(texts[1], `${lines[1]?.slice(0, 200)}\n`);
    }));

  it("a whole entry comes back behind a damaged one of its id, and the same damage is kept once", () =>
    withSides(async (sides) => {
      const { here, copying, from, directory } = sides;
      const ids = await fill(sides, 2);
      const before = await copiesIn(from, ids);
      const path = join(directory, "out");
      await exportTo(sides, path, ids);
      await here.acting().act("delete", ids);
      const [head, first = "", second] = (await readFile(path, "utf8")).split("\n");
      const text = [head, first.slice(0, 300), second, first, ""].join("\n");
      const once = await importFrom(sides, copying, text);
      assert.deepEqual(once.counts, { ...zero, restored: 2, damaged: 1 });
      assert.deepEqual(await copiesIn(from, ids), before);
      const again = await importFrom(sides, copying, text);
      assert.deepEqual(again.counts, { ...zero, already: 2, damaged: 1 });
      const [damaged, ...others] = await corruptIn(here);
      assert.ok(damaged !== undefined);
      assert.deepEqual(others, []);
      // It is a message of corrupt as any other when it is exported itself.
      const path2 = join(directory, "out2");
      await exportTo(sides, path2, [damaged.id]);
      const moved = await importFrom(sides, sides.to.copying, await readFile(path2));
      assert.deepEqual(moved.counts, { ...zero, restored: 1, isWhole: true });
    }));

  it("refuse a file that does not begin as an export does, and store nothing of it", () =>
    withSides(async (sides) => {
      const { here, copying, from, directory } = sides;
      const [id] = await fill(sides, 1);
      assert.ok(id !== undefined);
      const path = join(directory, "out");
      await exportTo(sides, path, [id]);
      await here.acting().act("delete", [id]);
      const [head = "", message = "", end = ""] = (await readFile(path, "utf8")).split("\n");
      const refused = (content: string | Buffer, saying: RegExp) =>
        assert.rejects(importFrom(sides, copying, content), {
          code: "PMQ_MESSAGE_REFUSED",
          message: saying,
        });
      await refused(gzipSync(await readFile(path)), /^line 1 is no JSON, and the file does not/);
      await refused(`\n \nNov 22 postfix/qmgr: x\n${message}\n`, /^line 3 is no JSON/);
      await refused(`{"end":5,"id":"x"}\n${message}\n`, /^line 1 end is no object/);
      await refused(`{"checkpoint":"x"}\n${message}\n`, /^line 1 checkpoint is no whole number/);
      await refused(`{"id":"x","level":30}\n${message}\n`, /^line 1 queue is missing/);
      const later = head.replace('"postmq_export":1', '"postmq_export":2');
      await refused(`${later}\n${message}\n`, /^line 1 is of another version of the format/);
      assert.deepEqual(await copiesIn(from, [id]), ["absent"]);
      assert.deepEqual(await corruptIn(here), []);
      assert.equal(await redis.cli("KEYS", `postmq:{${from.name}}:place:*`), "");
      // A header that grep took away is not missed, be the next line cut: it begins as a message does.
      const whole = [message, end, ""].join("\n");
      const restored = { ...zero, restored: 1, isWhole: true };
      assert.deepEqual((await importFrom(sides, copying, whole)).counts, restored);
      const cut = [message.slice(0, 60), message, end, ""].join("\n");
      assert.deepEqual((await importFrom(sides, copying, cut)).counts, {
        ...zero,
        already: 1,
        damaged: 1,
        isWhole: true,
      });
    }));

  it("what stands before the content counts in how much one script takes", () =>
    withSides(async (sides) => {
      const { here, copying, directory } = sides;
      const ids = await fill(sides, 6);
      const path = join(directory, "out");
      await exportTo(sides, path, ids);
      await here.acting().act("delete", ids);
      const text = (await readFile(path, "utf8")).replaceAll(
        ',"content":[',
        `,"later":"${"x".repeat(600_000)}","content":[`,
      );
      const sizes: number[] = [];
      const watched = proxied(copying, {
        restore: (messages, place) => {
          sizes.push(messages.length);
          return copying.restore(messages, place);
        },
      });
      const { counts } = await importFrom(sides, watched, text);
      assert.deepEqual(counts, { ...zero, restored: 6, isWhole: true });
      assert.deepEqual(sizes, [2, 2, 2]);
    }));

  it("odd entries are restored so that the check finds nothing to mend, or are damaged", () =>
    withSides(async (sides) => {
      const { here, copying } = sides;
      const intake = here.intake();
      const line = (fields: object) => {
        const { id, ...copy } = copyOf(intake.newId(), 0);
        const common = {
          arrival_ms: copy.arrivalMs,
          created_ms: copy.createdMs,
          attempts: 0,
          size_bytes: 0,
        };
        const { envelope, queue } = copy;
        const recipients = [{ address: "a@b.example" }];
        const entry = { id, queue, envelope, recipients, ...common, ...fields };
        return `${JSON.stringify(entry).slice(0, -1)},"content":[]}`;
      };
      const text = [
        header(false).trimEnd(),
        line({ recipients: [{ address: "a@" }, { address: "@" }, { address: "a@." }] }),
        line({ queue: "corrupt" }),
        line({ queue: "hold", corrupt_reason: "it was, once" }),
        line({ envelope: { sender: "a@b.example", origin: "smtp", full_name: "\ud800" } }),
        line({ envelope: { sender: "\ud800@b.example", origin: "smtp" } }),
        line({ recipients: [{ address: "\udc00@b.example" }] }),
        line({ arrival_ms: 1e-7 }),
        // One of very many is left after a requeue; nobody is where no requeue leaves one.
        line({ recipients: [{ address: "a@b.example", number: 99_999 }] }),
        line({ recipients: [{ address: "a@b.example", number: 100_100 }] }),
        "",
      ].join("\n");
      const { counts, damage } = await importFrom(sides, copying, text);
      assert.deepEqual(counts, { ...zero, restored: 5, damaged: 4 });
      assert.deepEqual(damage, [
        "6: sender is no well-formed Unicode",
        "7: address is no well-formed Unicode",
        "8: arrival_ms is no time",
        "10: numbers of recipients are too far apart",
      ]);
      const findings = here.checking().check({ isMending: false, restingSeconds: 0 });
      assert.deepEqual(await Array.fromAsync(findings), []);
    }));

  it("an import that was broken off goes on, and restores nothing that was delivered meanwhile", () =>
    withSides(async (sides) => {
      const { to, directory } = sides;
      const ids = await fill(sides, 120);
      const path = join(directory, "out");
      await exportTo(sides, path, ids);
      const text = await readFile(path, "utf8");
      const options: ImportOptions = {
        toHold: false,
        isDryRun: false,
        fromStart: false,
        nowMs: () => sides.here.clock.nowMs(),
        onDamage: () => assert.fail(),
      };
      for await (const { restored } of importMessages(
        to.copying,
        inPieces(Buffer.from(text)),
        options,
      )) {
        if (restored > 0) break;
      }
      const reads = (await to.copying.readCopies(ids)).filter((read) => typeof read !== "string");
      assert.ok(reads.length > 0 && reads.length < 120);
      const gone = reads.map((read) => ({ move: to.copying.moveOf(read), version: read.version }));
      await to.copying.markMoving(gone, "file:x");
      await to.copying.dropMoved(gone.map(({ move }) => move));
      const other = text.replace('"attempts":3', '"attempts":4');
      await assert.rejects(importFrom(sides, to.copying, other), { code: "PMQ_IMPORT_PLACE" });
      const cut = text.slice(0, 2000);
      await assert.rejects(importFrom(sides, to.copying, cut), { code: "PMQ_IMPORT_PLACE" });
      const { counts } = await importFrom(sides, to.copying, text);
      assert.equal(counts?.restored, 120 - reads.length);
      assert.equal(counts.skippedLines, reads.length + 1);
      const left = await copiesIn(to, ids);
      assert.equal(left.filter((copy) => copy === "absent").length, reads.length);
      // It came to its end: the file is a backup again.
      const again = await importFrom(sides, to.copying, text);
      assert.deepEqual(
        [again.counts?.restored, again.counts?.already],
        [reads.length, left.length - reads.length],
      );
    }));

  it("two imports of one file at once: one gives way", () =>
    withSides(async (sides) => {
      const { to, directory } = sides;
      const ids = await fill(sides, 200);
      const path = join(directory, "out");
      await exportTo(sides, path, ids);
      const text = await readFile(path, "utf8");
      const both = await Promise.allSettled([
        importFrom(sides, to.copying, text),
        importFrom(sides, to.copying, text),
      ]);
      const lost = both.filter(({ status }) => status === "rejected");
      assert.equal(lost.length, 1);
      const reads = await to.copying.readCopies(ids);
      assert.ok(reads.every((read) => typeof read !== "string"));
    }));

  it("export --delete leaves what is claimed, and each message is in a queue or in the file", () =>
    withSides(async (sides) => {
      const { from, to, directory } = sides;
      const ids = await fill(sides, 110);
      const before = await copiesIn(from, ids);
      const path = join(directory, "out");
      const counts = await exportDeleting(sides, path, ids);
      assert.deepEqual(counts, { messages: 110, busy: 0, unreadable: 0 });
      assert.deepEqual(new Set(await copiesIn(from, ids)), new Set(["absent"]));
      await importFrom(sides, to.copying, await readFile(path));
      assert.deepEqual(await copiesIn(to, ids), before);
      await assert.rejects(ExportFile.create(path), { code: "PMQ_EXPORT_FILE" });
    }));

  it("export --append goes on where a run died: before the sync, before the deletion, behind it", () =>
    withSides(async (sides) => {
      const { from, to, directory, copying } = sides;
      const ids = await fill(sides, 40);
      const before = await copiesIn(from, ids);
      for (const [round, died] of (["sync", "drop", "checkpoint"] as const).entries()) {
        const path = join(directory, died);
        const some = ids.slice(round * 10, round * 10 + 10);
        const dying = dyingAt(copying, died);
        const broken = exportDeleting({ ...sides, copying: dying }, path, some);
        await assert.rejects(broken, /died/);
        const wasDeleted = (await copiesIn(from, some)).every((copy) => copy === "absent");
        assert.ok(wasDeleted);
        assert.equal(await countMoving(copying), died === "checkpoint" ? 0 : 10);
        await finishMoves(copying, {
          markedBeforeMs: sides.here.clock.nowMs() + 1000,
          withInstance: () => assert.fail(),
        });
        await appendDeleting(sides, path, some);
        const { counts, damage } = await importFrom(sides, to.copying, await readFile(path));
        assert.deepEqual(damage, []);
        assert.deepEqual([counts?.restored, counts?.already], [10, 0], died);
        await copying.forgetPlace(exportId);
      }
      assert.deepEqual(await copiesIn(to, ids.slice(0, 30)), before.slice(0, 30));
      assert.deepEqual(new Set(await copiesIn(from, ids.slice(0, 30))), new Set(["absent"]));
    }));

  it("an export whose batch was put back meanwhile cuts it off the file again", () =>
    withSides(async (sides) => {
      const { from, copying, directory } = sides;
      const ids = await fill(sides, 5);
      const path = join(directory, "out");
      const slow: Sides["copying"] = proxied(copying, {
        dropWritten: async (moves, place) => {
          await copying.putBack(moves.slice(0, 1));
          return copying.dropWritten(moves, place);
        },
      });
      const counts = await exportDeleting({ ...sides, copying: slow }, path, ids);
      assert.deepEqual(counts, { messages: 0, busy: 5, unreadable: 0 });
      assert.equal(await readFile(path, "utf8"), header(true) + endLine(counts));
      assert.ok((await copiesIn(from, ids)).every((copy) => copy !== "absent"));
    }));

  it("an export that deletes leaves a message that can't be read whole, and goes on with the others", () =>
    withSides(async (sides) => {
      const { from, to, copying, directory } = sides;
      const ids = await fill(sides, 4);
      const before = await copiesIn(from, ids);
      const torn = { ...sides, copying: proxied(copying, { readContent: tornContent }) };
      const path = join(directory, "out");
      assert.deepEqual(await exportDeleting(torn, path, ids), {
        messages: 3,
        busy: 0,
        unreadable: 1,
      });
      assert.deepEqual(await copiesIn(from, ids), ["absent", before[1], "absent", "absent"]);
      assert.equal(await countMoving(copying), 0);
      const { counts, damage } = await importFrom(sides, to.copying, await readFile(path));
      assert.deepEqual([counts, damage], [{ ...zero, restored: 3, isWhole: true }, []]);
      const alone = join(directory, "alone");
      const none = await exportDeleting(torn, alone, ids.slice(1, 2));
      assert.deepEqual(none, { messages: 0, busy: 0, unreadable: 1 });
      assert.equal(await readFile(alone, "utf8"), header(true) + endLine(none));
    }));

  it("a file that does not fit what was deleted is refused", () =>
    withSides(async (sides) => {
      const path = join(sides.directory, "out");
      await writeFile(path, `${header(true)}{"checkpoint":4}\n`);
      await using file = await ExportFile.reopen(path);
      assert.equal(await file.goOn(4), 4);
      await assert.rejects(file.goOn(7), { code: "PMQ_EXPORT_FILE" });
      await assert.rejects(file.goOn(0), { code: "PMQ_EXPORT_FILE" });
    }));
});

const zero: ImportCounts = {
  restored: 0,
  already: 0,
  damaged: 0,
  incomplete: 0,
  skippedLines: 0,
  isWhole: false,
};

async function contentsIn(side: MovingSide, ids: readonly QueueId[]): Promise<readonly string[]> {
  const contents: string[] = [];
  for (const read of await side.copying.readCopies(ids)) {
    if (typeof read === "string") continue;
    const parts: Buffer[] = [];
    for await (const part of side.copying.readContent(read.content)) parts.push(part);
    contents.push(Buffer.concat(parts).toString());
  }
  return contents;
}

/** By the reason. */
async function corruptIn(store: Store): Promise<readonly ListedMessage[]> {
  const options = { queue: "corrupt", index: { by: "queue" }, limit: 100 } as const;
  const { messages } = await store.selecting().candidates(options);
  return messages.toSorted((a, b) => (a.corruptReason ?? "").localeCompare(b.corruptReason ?? ""));
}

async function exportDeleting(
  sides: Sides,
  path: string,
  ids: readonly QueueId[],
): Promise<ExportCounts> {
  await using file = await ExportFile.create(path);
  await file.write(header(true));
  return await deleteInto(sides, file, ids, 0);
}

async function appendDeleting(
  sides: Sides,
  path: string,
  ids: readonly QueueId[],
): Promise<ExportCounts> {
  await using file = await ExportFile.reopen(path);
  const lastBatch = await file.goOn(Number(await sides.copying.readPlace(exportId)));
  return await deleteInto(sides, file, ids, lastBatch);
}

async function deleteInto(
  { copying }: Sides,
  file: ExportFile,
  ids: readonly QueueId[],
  lastBatch: number,
): Promise<ExportCounts> {
  const steps = exportAndDelete(copying, file, pagesOf(ids), { exportId, lastBatch });
  const counts = (await last(steps)) ?? { messages: 0, busy: 0, unreadable: 0 };
  await file.write(endLine(counts));
  return counts;
}

/** A store whose user dies at a step: from then on it can do nothing more, not even undo. */
function dyingAt(
  copying: Sides["copying"],
  step: "sync" | "drop" | "checkpoint",
): Sides["copying"] {
  const die = (): never => {
    throw new Error("died");
  };
  return proxied(copying, {
    markMoving: async (reads, to) => {
      const marked = await copying.markMoving(reads, to);
      return step === "sync" ? die() : marked;
    },
    dropWritten: async (moves, place) => {
      if (step === "checkpoint") await copying.dropWritten(moves, place);
      return die();
    },
    readPlace: die,
    putBack: die,
  });
}

function proxied(copying: Sides["copying"], changed: Partial<Sides["copying"]>): Sides["copying"] {
  return new Proxy(copying, {
    get(target, name) {
      const member: unknown = Reflect.get(changed, name) ?? Reflect.get(target, name);
      return typeof member === "function" ? member.bind(target) : member;
    },
  });
}

/** Content of which a part is missing. */
async function* tornContent(): AsyncGenerator<Buffer> {
  yield Buffer.from("Subject: ");
  failing("PMQ_MESSAGE_UNREADABLE")();
}

function failing(code: "PMQ_STORE_FULL" | "PMQ_STORE_UNREACHABLE" | "PMQ_MESSAGE_UNREADABLE") {
  return (): never => {
    throw new PostmqError(code, "as the test wants it");
  };
}
