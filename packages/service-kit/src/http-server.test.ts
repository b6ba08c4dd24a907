import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { request as httpRequest } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import type { Log } from "@postmq/observability";
import { PostmqError, isPostmqError } from "@postmq/vocabulary";
import { makeToken } from "./api-tokens.ts";
import { clientOf, openHttpServer } from "./http-server.ts";
import type { HttpServer, HttpServerOptions } from "./http-server.ts";

const lines: string[] = [];
const note = (text: string) => void lines.push(text);
const log: Log = { info: note, warning: note, error: note };

const failures: Readonly<Record<string, () => Error>> = {
  unreachable: () => new PostmqError("PMQ_STORE_UNREACHABLE", "redis at secret-host"),
  refused: () => new PostmqError("PMQ_MESSAGE_REFUSED", "no recipients"),
  bug: () => new TypeError("canary of the inside"),
};

async function open(options: Partial<HttpServerOptions> = {}): Promise<HttpServer> {
  return await openHttpServer({
    listen: "127.0.0.1:0",
    listenParameter: "pickup_listen",
    tokensFile: "",
    log,
    bodyLimitBytes: 1_000,
    routes: (app, needs) => {
      app.post(
        "/send",
        {
          onRequest: needs("messages:send"),
          schema: {
            body: {
              type: "object",
              additionalProperties: false,
              required: ["to"],
              properties: { to: { type: "string" } },
            },
          },
        },
        (request) => ({
          client: clientOf(request).name,
          as: clientOf(request).maySendAs("a@b.example"),
        }),
      );
      app.get("/list", { onRequest: needs("queue:read") }, () => ({ ok: true }));
      app.get<{ Params: { kind: string } }>(
        "/fail/:kind",
        { onRequest: needs("queue:read") },
        (request) => {
          throw failures[request.params.kind]?.() ?? new Error("unknown");
        },
      );
    },
    ...options,
  });
}

async function call(server: HttpServer, path: string, init: RequestInit = {}) {
  const response = await fetch(`http://${server.address}${path}`, init);
  const text = await response.text();
  return {
    status: response.status,
    headers: response.headers,
    type: response.headers.get("content-type"),
    body: (text === "" ? {} : JSON.parse(text)) as Readonly<Record<string, unknown>>,
  };
}

const post = (body: string, headers: Readonly<Record<string, string>> = {}): RequestInit => ({
  method: "POST",
  body,
  headers: { "content-type": "application/json", ...headers },
});

function userName(): string {
  const uid = process.getuid?.();
  return uid === 0 ? "root" : `uid${uid}`;
}

describe("openHttpServer", () => {
  let directory = "";
  before(() => {
    directory = mkdtempSync(join(tmpdir(), "postmq-tokens-"));
  });
  after(() => rmSync(directory, { recursive: true }));

  it("P11 refuses to start beyond loopback without tokens, naming the parameter", async () => {
    await assert.rejects(
      open({ listen: "0.0.0.0:0" }),
      (error) =>
        isPostmqError(error, "PMQ_CONFIG_INVALID") &&
        /pickup_listen.*api_tokens/.test(error.message),
    );
  });

  it("serves this machine without a token on loopback", async () => {
    await using server = await open();
    const answer = await call(server, "/send", post('{"to":"x"}'));
    assert.deepEqual([answer.status, answer.body], [200, { client: "local", as: true }]);
  });

  const administration: Partial<HttpServerOptions> = {
    routes: (app, needs) => {
      app.get("/raw", { onRequest: needs("messages:read") }, (request) => ({
        client: clientOf(request).name,
      }));
      app.post("/act", { onRequest: needs("queue:write") }, () => ({ ok: true }));
    },
  };

  it(
    "P11 lets other users neither act on messages nor read them without a token, on loopback either",
    { skip: process.getuid?.() !== 0 },
    async () => {
      await using server = await open(administration);
      const port = server.address.split(":").at(-1);
      for (const request of ["GET /raw", "POST /act"]) {
        const text = String.raw`${request} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n`;
        const script = `exec 3<>/dev/tcp/127.0.0.1/${port}; printf '${text}' >&3; cat <&3`;
        const child = spawn("bash", ["-c", script], { uid: 65_534 });
        const answer = (await child.stdout.toArray()).join("");
        assert.match(answer, /^HTTP\/1.1 403 /);
        assert.match(answer, /api_tokens is empty.*is for root and the user of this service/);
      }
    },
  );

  it("P11 lets the user that it runs as do both without a token", async () => {
    await using server = await open(administration);
    assert.equal((await call(server, "/raw")).body["client"], userName());
    assert.equal((await call(server, "/act", post("{}"))).status, 200);
  });

  it("security 11: refuses a Host that is a domain name where there are no tokens", async () => {
    await using server = await open();
    const status = await new Promise((resolve, reject) => {
      const request = httpRequest(
        `http://${server.address}/list`,
        { headers: { host: "evil.example:8080" } },
        (response) => {
          response.resume();
          resolve(response.statusCode);
        },
      );
      request.on("error", reject).end();
    });
    assert.equal(status, 403);
  });

  it("P11 needs a right token with the scope, once there are tokens", async () => {
    const sender = await makeToken({
      name: "app",
      scopes: ["messages:send"],
      senders: ["@b.example"],
    });
    const tokensFile = join(directory, "tokens");
    writeFileSync(tokensFile, `# tokens\n${sender.line}\n`);
    await using server = await open({ tokensFile });
    const withToken = (token: string) => ({ authorization: `Bearer ${token}` });
    const send = (headers: Readonly<Record<string, string>>) =>
      call(server, "/send", post('{"to":"x"}', headers));

    const right = await send(withToken(sender.token));
    assert.deepEqual([right.status, right.body], [200, { client: "app", as: true }]);
    assert.equal((await send(withToken(sender.token))).status, 200, "and again, from memory");

    const without = await send({});
    assert.equal(without.status, 401);
    assert.match(without.headers.get("www-authenticate") ?? "", /^Bearer/);
    const wrong = [`${sender.token}x`, "app.", "app", `other${sender.token.slice(3)}`, "."];
    for (const token of wrong) assert.equal((await send(withToken(token))).status, 401, token);

    const list = await call(server, "/list", { headers: withToken(sender.token) });
    assert.equal(list.status, 403);
    assert.match(String(list.body["detail"]), /queue:read/);
  });

  it("P11 ends a token when its line is taken out of the file", async () => {
    let nowMs = 0;
    const one = await makeToken({ name: "one", scopes: ["queue:read"], senders: [] });
    const two = await makeToken({ name: "second", scopes: ["queue:read"], senders: [] });
    const tokensFile = join(directory, "revoked");
    writeFileSync(tokensFile, `${one.line}\n`);
    await using server = await open({ tokensFile, nowMs: () => nowMs });
    const headers = { authorization: `Bearer ${one.token}` };
    assert.equal((await call(server, "/list", { headers })).status, 200);
    writeFileSync(tokensFile, `${two.line}\n`);
    nowMs += 1_000;
    assert.equal((await call(server, "/list", { headers })).status, 401);
  });

  it("P11 lets no token in while the file is gone or broken, remembered ones neither", async () => {
    let nowMs = 0;
    const { token, line } = await makeToken({ name: "one", scopes: ["queue:read"], senders: [] });
    const tokensFile = join(directory, "lost");
    writeFileSync(tokensFile, `${line}\n`);
    await using server = await open({ tokensFile, nowMs: () => nowMs });
    const status = async () =>
      (await call(server, "/list", { headers: { authorization: `Bearer ${token}` } })).status;
    assert.equal(await status(), 200);
    rmSync(tokensFile);
    nowMs += 1_000;
    assert.deepEqual([await status(), await status(), await status()], [500, 500, 500]);
    writeFileSync(tokensFile, "rubbish\n");
    nowMs += 1_000;
    assert.deepEqual([await status(), await status()], [500, 500]);
    writeFileSync(tokensFile, `# mended\n${line}\n`);
    nowMs += 1_000;
    assert.equal(await status(), 200);
  });

  it("names file and line of a bad token file, never the hash", async () => {
    const tokensFile = join(directory, "bad");
    const refusal = async (content: string) => {
      writeFileSync(tokensFile, content);
      let message = "";
      await assert.rejects(open({ tokensFile }), (error) => {
        message = error instanceof Error ? error.message : "";
        return isPostmqError(error, "PMQ_CONFIG_INVALID");
      });
      return message;
    };
    const { line } = await makeToken({ name: "a", scopes: ["queue:read"], senders: [] });
    assert.match(
      await refusal("\na canary queue:read *\n"),
      /bad, line 2: the second field must be scrypt/,
    );
    assert.doesNotMatch(await refusal("a canary queue:read *\n"), /canary/);
    assert.match(await refusal(`${line}\n${line}\n`), /line 2: a is there twice/);
    assert.match(await refusal(line.replace("queue:read", "queue:all")), /scopes are/);
    await assert.rejects(open({ tokensFile: "/nowhere/tokens" }), /\/nowhere\/tokens/);
  });

  it("http-api 1: tells errors as problem details", async () => {
    await using server = await open();
    const bad: readonly (readonly [number, RequestInit])[] = [
      [400, post("{")],
      [400, post('{"to":"x","__proto__":{"a":1}}')],
      [413, post(JSON.stringify({ to: "x".repeat(2_000) }))],
      [415, post("x", { "content-type": "text/plain" })],
      [422, post('{"to":5}')],
      [422, post("{}")],
      [422, post('{"to":"x","cc":"y"}')],
    ];
    for (const [status, init] of bad) {
      const answer = await call(server, "/send", init);
      assert.equal(answer.status, status, JSON.stringify(init));
      assert.match(answer.type ?? "", /^application\/problem\+json/);
      assert.equal(answer.body["status"], status);
      assert.ok(answer.body["title"] !== undefined && answer.body["detail"] !== undefined);
    }
    assert.equal((await call(server, "/nothing")).status, 404);
    const other = await call(server, "/fail/bug", { method: "DELETE" });
    assert.equal(other.status, 405);
    assert.equal(other.headers.get("allow"), "GET");
    const head = await call(server, "/list", { method: "HEAD" });
    assert.deepEqual([head.status, head.headers.get("allow")], [405, "GET"]);
    assert.match(other.type ?? "", /^application\/problem\+json/);
    assert.equal((await call(server, "/send", { method: "PUT", body: "{" })).status, 405);
    for (const [path, status] of [
      ["/fail/%zz", 400],
      [`/fail/${"x".repeat(300)}`, 414],
    ] as const) {
      const odd = await call(server, path);
      assert.deepEqual([odd.status, odd.type], [status, "application/problem+json; charset=utf-8"]);
    }
  });

  it("tells a store's trouble as 503 with Retry-After, a refusal as 422, a bug as 500 without its inside", async () => {
    await using server = await open();
    const unreachable = await call(server, "/fail/unreachable");
    assert.equal(unreachable.status, 503);
    assert.equal(unreachable.headers.get("retry-after"), "10");
    assert.equal(unreachable.body["code"], "PMQ_STORE_UNREACHABLE");
    assert.doesNotMatch(JSON.stringify(unreachable.body), /secret-host/);
    const refused = await call(server, "/fail/refused");
    assert.deepEqual([refused.status, refused.body["detail"]], [422, "no recipients"]);
    const bug = await call(server, "/fail/bug");
    assert.equal(bug.status, 500);
    assert.doesNotMatch(JSON.stringify(bug.body), /canary/);
    assert.match(lines.join("\n"), /GET \/fail\/:kind: TypeError: canary/);
  });
});
