import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { connect, createServer } from "node:net";
import type { Socket } from "node:net";
import { describe, it } from "node:test";

import { uidInTable, uidOfPeer } from "./local-peer.ts";

async function accept(
  listen: string,
  use: (port: number, accepted: Promise<Socket>) => Promise<void>,
): Promise<void> {
  const server = createServer();
  const accepted = once(server, "connection").then(([socket]: Socket[]) => socket as Socket);
  server.listen(0, listen);
  await once(server, "listening");
  const address = server.address();
  try {
    await use(typeof address === "object" ? (address?.port ?? 0) : 0, accepted);
  } finally {
    (await accepted).destroy();
    server.close();
  }
}

describe("uidOfPeer", () => {
  for (const listen of ["127.0.0.1", "::1", "::"]) {
    it(`is this process's own for a connection of its own to ${listen}`, () =>
      accept(listen, async (port, accepted) => {
        const host = listen === "::" ? "127.0.0.1" : listen;
        const client = connect({ port, host });
        assert.equal(await uidOfPeer(await accepted), process.getuid?.());
        client.destroy();
      }));
  }

  it("is that of another user's process", { skip: process.getuid?.() !== 0 }, () =>
    accept("127.0.0.1", async (port, accepted) => {
      const script = `exec 3<>/dev/tcp/127.0.0.1/${port}; read -u 3`;
      const child = spawn("bash", ["-c", script], { uid: 65_534, stdio: "ignore" });
      assert.equal(await uidOfPeer(await accepted), 65_534);
      child.kill("SIGKILL");
      await once(child, "exit");
    }),
  );

  it("is not told of a socket that its process has closed, which the table lists under user 0", () =>
    accept("127.0.0.1", async (port, accepted) => {
      const client = connect({ port, host: "127.0.0.1" });
      const socket = await accepted;
      client.destroy();
      socket.resume();
      await once(socket, "end");
      assert.equal(await uidOfPeer(socket), undefined);
    }));
});

describe("uidInTable", () => {
  const head =
    "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n";
  const row = (local: string, remote: string, state: string, inode = "77") =>
    `   0: ${local} ${remote} ${state} 00000000:00000000 00:00000000 00000000  1000        0 ${inode} 1 0 20\n`;
  const from = { address: "127.0.0.1", port: 0x1234 };
  const to = { address: "127.0.0.1", port: 0x1f90 };

  it("wants both ends, the established state and an owner", () => {
    const [a, b] = ["0100007F:1234", "0100007F:1F90"];
    assert.equal(uidInTable(head + row(a, b, "01"), from, to), 1000);
    assert.equal(uidInTable(head + row(b, a, "01"), from, to), undefined);
    assert.equal(uidInTable(head + row("0200007F:1234", b, "01"), from, to), undefined);
    assert.equal(uidInTable(head + row(a, b, "04"), from, to), undefined);
    assert.equal(uidInTable(head + row(a, b, "01", "0"), from, to), undefined);
  });
});
