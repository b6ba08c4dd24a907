/**
 * Which user of this machine is at the other end of a loopback connection, as the kernel's table of TCP sockets tells.
 *
 * Only a socket that is established and has an owner counts: one that its process has closed is listed under user 0.
 *
 * Source: proc(5) "/proc/net/tcp"; Linux net/ipv4/tcp_ipv4.c get_tcp4_sock.
 */
import { readFile } from "node:fs/promises";
import type { Socket } from "node:net";
import { endianness } from "node:os";

const tables = ["/proc/net/tcp", "/proc/net/tcp6"];
const established = "01";

/** An end of a connection. */
type End = { readonly address: string; readonly port: number };

/** @returns undefined when it can't be told: another machine, another system than Linux, a socket that is closed */
export async function uidOfPeer(socket: Socket): Promise<number | undefined> {
  const { remoteAddress, remotePort, localAddress, localPort } = socket;
  if (remoteAddress === undefined || remotePort === undefined) return undefined;
  if (localAddress === undefined || localPort === undefined) return undefined;
  const own = { address: localAddress, port: localPort };
  const peer = { address: remoteAddress, port: remotePort };
  for (const table of tables) {
    const uid = uidInTable(await readTable(table), peer, own);
    if (uid !== undefined) return uid;
  }
  return undefined;
}

async function readTable(path: string): Promise<string> {
  try {
    return await readFile(path, "latin1");
  } catch {
    return ""; // There is none here: nothing can be told.
  }
}

/** The owner of the socket at `from` that is connected to `to`. */
export function uidInTable(table: string, from: End, to: End): number | undefined {
  const [wantedFrom, wantedTo] = [hexForms(from), hexForms(to)];
  for (const line of table.split("\n").slice(1)) {
    const [, local = "", remote = "", state, , , , uid, , inode] = line.trim().split(/\s+/);
    if (state !== established || inode === "0") continue;
    if (wantedFrom.includes(local) && wantedTo.includes(remote)) return Number(uid);
  }
  return undefined;
}

/** As the tables write it; IPv4 also as it is seen by a socket of IPv6. */
function hexForms({ address, port }: End): readonly string[] {
  const hexPort = port.toString(16).toUpperCase().padStart(4, "0");
  const v4 = /^(?:::ffff:)?(\d+)\.(\d+)\.(\d+)\.(\d+)$/i.exec(address)?.slice(1).map(Number);
  if (v4 !== undefined) {
    const word = hexWord(v4);
    const mapped = `${hexWord([0, 0, 0, 0]).repeat(2)}${hexWord([0, 0, 0xff, 0xff])}${word}`;
    return [`${word}:${hexPort}`, `${mapped}:${hexPort}`];
  }
  if (address !== "::1") return [];
  return [`${hexWord([0, 0, 0, 0]).repeat(3)}${hexWord([0, 0, 0, 1])}:${hexPort}`];
}

/** Four bytes of an address, as the number that they make in memory here. */
function hexWord(bytes: readonly number[]): string {
  const inOrder = endianness() === "LE" ? bytes.toReversed() : bytes;
  return inOrder.map((byte) => byte.toString(16).toUpperCase().padStart(2, "0")).join("");
}
