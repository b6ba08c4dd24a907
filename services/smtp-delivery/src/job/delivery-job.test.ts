import assert from "node:assert/strict";
import { createServer } from "node:net";
import type { Socket } from "node:net";
import { describe, it } from "node:test";

import { FakeSmtpServer, waitFor } from "@postmq/testing";
import type { Behaviour, StageEvent } from "@postmq/testing";

import {
  chunkedRequest,
  message,
  request,
  startWorker,
  unreadable,
} from "../delivery.test-support.ts";
import type { TestWorker } from "../delivery.test-support.ts";

/** Notes what the server sees among the store's calls. */
function watch(
  server: FakeSmtpServer,
  { delivering }: TestWorker,
  decide?: FakeSmtpServer["decide"],
) {
  server.decide = (event: StageEvent): ReturnType<FakeSmtpServer["decide"]> => {
    if (["mail", "data", "dot", "rset"].includes(event.stage)) {
      delivering.calls.push(`server ${event.stage}`);
    }
    return decide?.(event);
  };
}

const at = (stage: StageEvent["stage"], behaviour: Behaviour) => (event: StageEvent) =>
  event.stage === stage ? behaviour : undefined;

describe("the order of a delivery job", () => {
  it("DESIGN §3: awaits the dot-sent mark before the dot, and ends right after the 250", async () => {
    await using server = await FakeSmtpServer.start();
    await using test = await startWorker();
    watch(server, test);
    const dotsBefore: number[] = [];
    test.delivering.mark = async () => {
      // The server would see the dot long before this if the mark were not awaited.
      for (let turn = 0; turn < 50; turn++) await new Promise(setImmediate);
      dotsBefore.push(server.messages.length);
      return true;
    };
    await test.serve(request(1, server.relayhost), request(2, server.relayhost));
    assert.deepEqual(dotsBefore, [0, 1]);
    const { calls } = test.delivering;
    assert.deepEqual(calls, [
      "claim 1,2",
      "server mail",
      "server data",
      "mark 1",
      "server dot",
      "end 1 tried",
      "log 1",
      "server mail",
      "server data",
      "mark 2",
      "server dot",
      "end 2 tried",
      "log 2",
    ]);
    assert.equal(server.totalConnections, 1);
  });

  it("DESIGN §3: sends no dot when the mark is refused, drops the connection and puts the request back", async () => {
    await using server = await FakeSmtpServer.start();
    await using test = await startWorker();
    test.delivering.mark = async () => false;
    await test.serve(request(1, server.relayhost));
    await waitFor(() => server.openConnections === 0);
    assert.equal(server.messages.length, 0);
    assert.deepEqual(test.delivering.onlyEnd, {
      name: request(1, "").name,
      end: "putBack",
      outcomes: [],
      feedback: { kind: "none" },
    });
    assert.equal(test.worker.cache.size, 0);
  });

  it("DESIGN §3: sends no dot for large content either when the mark is refused", async () => {
    await using server = await FakeSmtpServer.start();
    await using test = await startWorker();
    test.delivering.mark = async () => false;
    test.delivering.content = async function* content() {
      yield Buffer.from("Subject: x\r\n\r\n");
      yield Buffer.from("body\r\n");
    };
    await test.serve(chunkedRequest(1, server.relayhost, { sizeBytes: 20, chunks: 2 }));
    await waitFor(() => server.openConnections === 0);
    assert.equal(server.messages.length, 0);
    assert.equal(test.delivering.onlyEnd.end, "putBack");
  });

  it("DESIGN §3: a mark that fails is a no", async () => {
    await using server = await FakeSmtpServer.start();
    await using test = await startWorker();
    test.delivering.mark = () => Promise.reject(new Error("closed"));
    await test.serve(request(1, server.relayhost));
    assert.equal(server.messages.length, 0);
    assert.equal(test.delivering.onlyEnd.end, "putBack");
  });

  it("DESIGN §3: a worker that wakes after its claim fell delivers the rest of its job to nobody", async () => {
    await using server = await FakeSmtpServer.start();
    await using test = await startWorker();
    test.delivering.mark = async (name) => name.number === 1;
    await test.serve(...[1, 2, 3].map((number) => request(number, server.relayhost)));
    assert.equal(server.messages.length, 1);
    assert.deepEqual(
      test.delivering.ends.map(({ end }) => end),
      ["tried", "putBack", "putBack"],
    );
  });

  it("DESIGN §3: skips what is stale or busy, and ends what is unreadable as that", async () => {
    await using server = await FakeSmtpServer.start();
    await using test = await startWorker();
    const names = test.delivering.offer(...[1, 2, 3, 4].map((n) => request(n, server.relayhost)));
    test.delivering.answers.set(1, "stale");
    test.delivering.answers.set(2, "busy");
    test.delivering.answers.set(3, "unreadable");
    await test.worker.serve({ requests: names, keepsConnection: true });
    const ends = test.delivering.calls.filter((call) => call.startsWith("end"));
    assert.deepEqual(ends, ["end 3 unreadable", "end 4 tried"]);
    assert.notEqual(test.delivering.ends[0]?.reason, undefined);
    assert.equal(server.messages.length, 1);
  });

  it("DESIGN §3: dials nobody when all recipients are done", async () => {
    await using server = await FakeSmtpServer.start();
    await using test = await startWorker();
    await test.serve(request(1, server.relayhost, { to: [] }));
    assert.equal(server.totalConnections, 0);
    assert.deepEqual(test.delivering.calls, ["claim 1", "end 1 tried"]);
    assert.deepEqual(test.delivering.onlyEnd.feedback, { kind: "none" });
  });

  it("DESIGN §3: the job is over only when all its ends are written", async () => {
    await using server = await FakeSmtpServer.start();
    await using test = await startWorker();
    let write = () => {};
    test.delivering.written = (result) =>
      result.name.number === 1
        ? new Promise<void>((resolve) => {
            write = resolve;
          })
        : Promise.resolve();
    let isOver = false;
    const served = test
      .serve(request(1, server.relayhost), request(2, server.relayhost))
      .then(() => (isOver = true));
    await waitFor(() => test.delivering.ends.length === 2);
    await new Promise(setImmediate);
    assert.equal(isOver, false);
    write();
    await served;
  });

  it("PROTOTYPE 6.6: puts the untouched rest back at once when nobody answers", async () => {
    const server = await FakeSmtpServer.start();
    const nexthop = server.relayhost;
    await server[Symbol.asyncDispose]();
    await using test = await startWorker();
    await test.serve(...[1, 2, 3].map((number) => request(number, nexthop)));
    assert.deepEqual(
      test.delivering.ends.map(({ end, feedback }) => `${end} ${feedback.kind}`),
      ["tried trouble", "putBack none", "putBack none"],
    );
  });

  it("PROTOTYPE 6.6: puts the untouched rest back after a lost connection", async () => {
    await using server = await FakeSmtpServer.start({ decide: at("data", { cut: "before" }) });
    await using test = await startWorker();
    await test.serve(...[1, 2].map((number) => request(number, server.relayhost)));
    assert.deepEqual(
      test.delivering.ends.map(({ end, feedback }) => `${end} ${feedback.kind}`),
      ["tried trouble", "putBack none"],
    );
  });

  it("40: content that can't be read ends the request as unreadable, and no dot is sent", async () => {
    await using server = await FakeSmtpServer.start();
    await using test = await startWorker();
    test.delivering.content = async function* content() {
      yield Buffer.from("Subject: x\r\n\r\n");
      throw unreadable();
    };
    await test.serve(chunkedRequest(1, server.relayhost, { sizeBytes: 500, chunks: 2 }));
    await waitFor(() => server.openConnections === 0);
    assert.equal(server.messages.length, 0);
    const { end, reason, outcomes } = test.delivering.onlyEnd;
    assert.deepEqual(
      { end, reason, outcomes },
      {
        end: "unreadable",
        reason: "chunk 1 is missing",
        outcomes: [],
      },
    );
  });

  it("content that can't be read for another reason is put back", async () => {
    await using server = await FakeSmtpServer.start();
    await using test = await startWorker();
    test.delivering.content = async function* content() {
      yield Buffer.from("Subject: x\r\n\r\n");
      throw new Error("Redis is away");
    };
    await test.serve(chunkedRequest(1, server.relayhost, { sizeBytes: 500, chunks: 2 }));
    assert.equal(server.messages.length, 0);
    assert.equal(test.delivering.onlyEnd.end, "putBack");
  });
});

describe("connections between messages and jobs", () => {
  it("D26 sends RSET first on a connection from the cache, not between messages of one job", async () => {
    await using server = await FakeSmtpServer.start();
    await using test = await startWorker();
    watch(server, test);
    await test.serve(request(1, server.relayhost), request(2, server.relayhost));
    await test.serve(request(3, server.relayhost));
    const seen = test.delivering.calls.filter((call) => /server (rset|mail)/.test(call));
    assert.deepEqual(seen, ["server mail", "server mail", "server rset", "server mail"]);
    assert.equal(server.totalConnections, 1);
    assert.equal(server.messages.length, 3);
    assert.equal(test.attempts[2]?.reports[0]?.uses, 3);
  });

  it("D26 opens a new connection silently when the server has left the cached one", async () => {
    await using server = await FakeSmtpServer.start();
    await using test = await startWorker();
    await test.serve(request(1, server.relayhost));
    assert.equal(test.worker.cache.size, 1);
    // The server hangs up on the next command, before it says anything.
    server.decide = (event) =>
      event.connection === 1 && event.stage === "rset" ? { cut: "before" } : undefined;
    await test.serve(request(2, server.relayhost), request(3, server.relayhost));
    assert.equal(server.totalConnections, 2);
    assert.deepEqual(
      test.delivering.ends.map(({ feedback, outcomes }) => `${feedback.kind} ${outcomes[0]?.kind}`),
      ["good sent", "good sent", "good sent"],
    );
  });

  it("D26 opens a new connection silently when RSET or MAIL is answered with 421", async () => {
    for (const stage of ["rset", "mail"] as const) {
      await using server = await FakeSmtpServer.start();
      // The one session that is allowed must be the new one.
      await using test = await startWorker({ POSTMQ_SMTP_MX_SESSION_LIMIT: "1" });
      await test.serve(request(1, server.relayhost));
      server.decide = (event) =>
        event.connection === 1 && event.stage === stage ? { reply: "421 4.7.0 enough" } : undefined;
      await test.serve(request(2, server.relayhost));
      assert.equal(server.totalConnections, 2);
      assert.equal(test.delivering.ends[1]?.outcomes[0]?.kind, "sent");
    }
  });

  it("D26 opens a new connection silently when the server does not answer RSET in time", async () => {
    await using server = await FakeSmtpServer.start();
    await using test = await startWorker({ POSTMQ_SMTP_RSET_TIMEOUT: "1s" });
    await test.serve(request(1, server.relayhost));
    server.decide = (event) =>
      event.connection === 1 && event.stage === "rset" ? { hangs: true } : undefined;
    await test.serve(request(2, server.relayhost));
    assert.equal(server.totalConnections, 2);
    assert.deepEqual(
      test.delivering.ends.map(({ feedback, outcomes }) => `${feedback.kind} ${outcomes[0]?.kind}`),
      ["good sent", "good sent"],
    );
    assert.deepEqual(test.log, []);
  });

  it("D26 opens a new connection silently when the server leaves between messages of a job", async () => {
    await using server = await FakeSmtpServer.start({
      decide: (event) =>
        event.connection === 1 && event.transaction === 1 ? { cut: "before" } : undefined,
    });
    await using test = await startWorker({ POSTMQ_SMTP_MX_SESSION_LIMIT: "1" });
    await test.serve(request(1, server.relayhost), request(2, server.relayhost));
    assert.deepEqual(
      test.delivering.ends.map(({ outcomes }) => outcomes[0]?.kind),
      ["sent", "sent"],
    );
    assert.deepEqual(test.log, []);
  });

  it("D25 forgets an idle connection that the server ends", async () => {
    await using server = await FakeSmtpServer.start();
    await using test = await startWorker({ POSTMQ_SMTP_CONNECTION_CACHE_TIME_LIMIT: "100s" });
    await test.serve(request(1, server.relayhost));
    assert.equal(test.worker.cache.size, 1);
    server.cutAll();
    await waitFor(() => test.worker.cache.size === 0);
  });

  it("D25 ends an idle connection after smtp_connection_cache_time_limit, with QUIT", async () => {
    const quits: string[] = [];
    await using server = await FakeSmtpServer.start({
      decide: (event) => {
        if (event.stage === "quit") quits.push(event.line);
        return undefined;
      },
    });
    await using test = await startWorker({ POSTMQ_SMTP_CONNECTION_CACHE_TIME_LIMIT: "1s" });
    await test.serve(request(1, server.relayhost));
    assert.equal(test.worker.cache.size, 1);
    await waitFor(() => quits.length === 1);
    assert.equal(test.worker.cache.size, 0);
  });

  it("D25 uses a connection at most smtp_connection_reuse_count_limit times", async () => {
    await using server = await FakeSmtpServer.start();
    await using test = await startWorker({ POSTMQ_SMTP_CONNECTION_REUSE_COUNT_LIMIT: "2" });
    await test.serve(...[1, 2, 3].map((number) => request(number, server.relayhost)));
    assert.deepEqual(
      server.messages.map(({ connection }) => connection),
      [1, 1, 2],
    );
  });

  it("D27 uses no connection again after a protocol error", async () => {
    await using server = await FakeSmtpServer.start({
      decide: (event) =>
        event.connection === 1 ? at("rcpt", { reply: "501 5.5.4 what" })(event) : undefined,
    });
    await using test = await startWorker();
    await test.serve(request(1, server.relayhost), request(2, server.relayhost));
    assert.equal(server.totalConnections, 2);
    assert.equal(server.messages[0]?.connection, 2);
  });
});

describe("pipelining", () => {
  it("D12, D20: sends an empty message to nobody when all were refused but DATA was taken", async () => {
    const lines: string[] = [];
    await using server = await rawServer((line, socket) => {
      lines.push(line);
      const reply: Record<string, string> = {
        EHLO: "250-raw\r\n250 PIPELINING",
        MAIL: "250 ok",
        RCPT: "550 5.1.1 no",
        DATA: "354 go on",
        ".": "250 2.0.0 queued an empty one",
        RSET: "250 ok",
      };
      socket.write(`${reply[line.slice(0, 4)] ?? "250 ok"}\r\n`);
    });
    await using test = await startWorker();
    await test.serve(request(1, server.nexthop), request(2, server.nexthop));
    assert.deepEqual(
      test.delivering.ends.map(({ outcomes }) => `${outcomes[0]?.kind} ${outcomes[0]?.status}`),
      ["failed 5.1.1", "failed 5.1.1"],
    );
    assert.equal(test.delivering.calls.filter((call) => call.startsWith("mark")).length, 0);
    assert.deepEqual(
      lines.slice(1, 5).map((line) => line.slice(0, 4)),
      ["MAIL", "RCPT", "DATA", "."],
    );
    assert.equal(lines.filter((line) => line.startsWith("EHLO")).length, 1);
  });

  it("D20: MAIL, RCPT and DATA leave in one write when PIPELINING is offered, else one by one", async () => {
    for (const keyword of ["PIPELINING", "HELP"]) {
      const chunks: string[] = [];
      await using server = await rawServer(
        (line, socket) => {
          const isContent = !/^(?:EHLO|MAIL|RCPT|DATA|QUIT|RSET)/.test(line);
          if (isContent && line !== ".") return;
          const verb = line.slice(0, 4);
          const reply = verb === "EHLO" ? `250-raw\r\n250 ${keyword}` : "250 ok";
          socket.write(`${verb === "DATA" ? "354 go on" : reply}\r\n`);
        },
        (chunk) => chunks.push(chunk),
      );
      await using test = await startWorker();
      await test.serve(request(1, server.nexthop, { to: ["a@example.net", "b@example.net"] }));
      assert.deepEqual(test.delivering.shownOutcomes, ["0 sent 2.0.0", "1 sent 2.0.0"]);
      const envelope = chunks.filter((chunk) => /^(?:MAIL|RCPT|DATA)/.test(chunk));
      assert.equal(envelope.length, keyword === "PIPELINING" ? 1 : 4, keyword);
    }
  });

  it("D12 sends no DATA without pipelining when all were refused", async () => {
    await using server = await FakeSmtpServer.start({
      keywords: [],
      decide: at("rcpt", { reply: "550 5.1.1 no" }),
    });
    await using test = await startWorker();
    watch(server, test, at("rcpt", { reply: "550 5.1.1 no" }));
    await test.serve(request(1, server.relayhost), request(2, server.relayhost));
    const seen = test.delivering.calls.filter((call) => call.startsWith("server"));
    assert.deepEqual(seen, ["server mail", "server rset", "server mail"]);
  });
});

describe("content on its way", () => {
  it("D19 delivers small content byte for byte", async () => {
    await using server = await FakeSmtpServer.start();
    await using test = await startWorker();
    await test.serve(request(1, server.relayhost));
    assert.deepEqual(server.messages[0]?.content, message);
  });

  it("D19 delivers 10 000 000 bytes that stream, to a server that reads slowly", async () => {
    const line = Buffer.from(`.${"x".repeat(77)}\r\n`);
    const chunk = Buffer.concat(Array.from({ length: 3125 }, () => line));
    const chunks = 40;
    await using server = await FakeSmtpServer.start({ decide: at("body", { delayMs: 50 }) });
    await using test = await startWorker();
    let mostAhead = 0;
    let given = 0;
    test.delivering.content = async function* content() {
      for (given = 1; given <= chunks; given++) {
        mostAhead = Math.max(mostAhead, given);
        if (server.messages.length === 0 && given > 30) {
          assert.ok(!test.delivering.calls.includes("mark 1"), "marked while content streams");
        }
        yield chunk;
      }
    };
    const sizeBytes = chunk.length * chunks;
    assert.equal(sizeBytes, 10_000_000);
    await test.serve(chunkedRequest(1, server.relayhost, { sizeBytes, chunks }));
    const content = server.messages[0]?.content ?? Buffer.alloc(0);
    assert.equal(content.length, sizeBytes);
    assert.ok(content.equals(Buffer.concat(Array.from({ length: chunks }, () => chunk))));
    assert.equal(test.delivering.onlyOutcome.kind, "sent");
  });

  it("reads content no faster than the server takes it", async () => {
    let open: Socket | undefined;
    await using server = await rawServer((line, socket) => {
      open = socket;
      const verb = line.slice(0, 4);
      if (verb === "DATA") {
        socket.pause();
        socket.write("354 go on\r\n");
      } else if (verb === "EHLO" || verb === "MAIL" || verb === "RCPT") socket.write("250 ok\r\n");
    });
    await using test = await startWorker();
    let given = 0;
    test.delivering.content = async function* content() {
      for (given = 1; given <= 400; given++) yield Buffer.alloc(262_144, "x\r\n");
    };
    const served = test.serve(
      chunkedRequest(1, server.nexthop, { sizeBytes: 400 * 262_144, chunks: 400 }),
    );
    await waitFor(() => given > 1);
    let last = -1;
    // It stands still once the system's buffers are full.
    await waitFor(
      () => {
        const isStill = given === last;
        last = given;
        return isStill;
      },
      { everyMs: 200 },
    );
    assert.ok(given < 100, `${given} chunks of 256 KB were read ahead`);
    open?.destroy();
    await served;
    assert.equal(test.delivering.onlyOutcome.kind, "deferred");
  });
});

/** A server that answers line by line as it is told; content lines come here too. */
async function rawServer(
  onLine: (line: string, socket: Socket) => void,
  onChunk?: (chunk: string) => void,
) {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    let held = "";
    socket.write("220 raw ready\r\n");
    socket.on("error", () => {});
    socket.on("close", () => sockets.delete(socket));
    socket.on("data", (bytes) => {
      const text = bytes.toString("latin1");
      onChunk?.(text);
      const lines = (held + text).split("\r\n");
      held = lines.pop() ?? "";
      for (const line of lines) onLine(line, socket);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  const port = typeof address === "object" && address !== null ? address.port : 0;
  return {
    nexthop: `[127.0.0.1]:${port}`,
    [Symbol.asyncDispose]: async () => {
      for (const socket of sockets) socket.destroy();
      await new Promise<void>((resolve) => server.close(() => resolve()));
    },
  };
}
