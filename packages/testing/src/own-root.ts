/**
 * A daemon in a file system of its own: this machine's, with an unpacked package and some files laid over it.
 *
 * Mail systems want fixed places (/etc/passwd with their users, /var/spool/smtpd) and exclude each other as packages.
 * Here each gets its places without this machine seeing any of it: an overlay in a mount namespace, gone with its last
 * process. The network stays this machine's. It needs root. Source: unshare(1), mount(8) overlay.
 */
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";

import { Child } from "./child-process.ts";

const unshare = "/usr/bin/unshare";
const unpacked = join(import.meta.dirname, "..", "..", "..", "node_modules", ".postmq-peers");

export type OwnRootOptions = {
  /** As scripts/setup --peers names what it unpacks. */
  readonly peer: string;
  /** An empty directory for this daemon; at /peer, and under its own name, in the new file system. */
  readonly directory: string;
  /** Users and groups that the daemon expects, each with itself as its group. */
  readonly users: readonly string[];
  /** Path in the new file system to content. */
  readonly files: Readonly<Record<string, string>>;
  readonly command: readonly [string, ...(readonly string[])];
  /** More shell lines to run there first. */
  readonly prepare?: readonly string[];
};

/** What is missing for such a daemon, or undefined. */
export function ownRootObstacle(peer: string): string | undefined {
  if (!existsSync(join(unpacked, peer)))
    return `${peer} is not there (scripts/setup --peers gets it)`;
  return existsSync(unshare) ? undefined : "util-linux's unshare is not installed";
}

/** Why this machine gives nobody a file system of his own, whatever is installed; or undefined. */
export function ownRootDenied(): string | undefined {
  if (process.getuid?.() !== 0) return "a file system of its own needs root";
  const { status, stderr } = spawnSync(
    unshare,
    ["--mount", "--pid", "--fork", "sh", "-ec", tryToLayOver],
    { encoding: "utf8" },
  );
  return status === 0 ? undefined : `no overlay in a mount namespace: ${stderr.trim()}`;
}

const tryToLayOver = `
mount -t tmpfs tmpfs /mnt
mkdir /mnt/up /mnt/work /mnt/root
mount -t overlay overlay -o lowerdir=/,upperdir=/mnt/up,workdir=/mnt/work /mnt/root
mount -t proc proc /mnt/root/proc
`;

/** A daemon that has its own root, and all that it started. */
export class OwnRoot implements AsyncDisposable {
  readonly child: Child;

  constructor(child: Child) {
    this.child = child;
  }

  /** Kills the first process of its namespace, with which all others end; so its parent is there to see that. */
  async [Symbol.asyncDispose](): Promise<void> {
    const { pid } = this.child;
    const children = await readFile(`/proc/${pid}/task/${pid}/children`, "utf8").catch(() => "");
    const first = Number(children.trim().split(" ")[0]);
    if (first > 0 && this.child.isRunning) process.kill(first, "SIGKILL");
    else this.child.signal("SIGKILL");
    await this.child.exited;
  }
}

/** Starts it; it ends with this process, and all its children with it. */
export async function startInOwnRoot(options: OwnRootOptions): Promise<OwnRoot> {
  const { peer, directory, users, files, command, prepare = [] } = options;
  const layer = join(directory, "layer");
  const all = {
    "/etc/passwd.more": users
      .map((name, at) => `${name}:x:${880 + at}:${880 + at}::/:/bin/false\n`)
      .join(""),
    "/etc/group.more": users.map((name, at) => `${name}:x:${880 + at}:\n`).join(""),
    "/prepare": prepare.map((line) => `${line}\n`).join(""),
    ...files,
  };
  for (const [path, content] of Object.entries(all)) {
    await mkdir(dirname(join(layer, path)), { recursive: true });
    await writeFile(join(layer, path), content);
  }
  await mkdir(join(directory, "own"));
  await mkdir(join(directory, "shared"));
  const child = new Child(unshare, [
    ...["--mount", "--pid", "--fork", "--kill-child=SIGKILL"],
    ...["sh", "-c", layOver, "sh", join(unpacked, peer), directory, ...command],
  ]);
  return new OwnRoot(child);
}

/** $1: the unpacked package, $2: the daemon's directory; the rest: the command. */
const layOver = `
set -e
package=$1 directory=$2 own=$2/own
shift 2
mount -t tmpfs tmpfs "$own"
mkdir "$own/up" "$own/work" "$own/root"
# Programs alone: where /lib is a link, a package's /lib would take its place. And none that is set-user-id: whoever
# starts one is no longer ended with its parent.
cp -R --preserve=mode,links "$package/usr" "$directory/layer/." "$own/up/"
chmod -R u-s,g-s "$own/up/usr"
mount -t overlay overlay -o "lowerdir=/,upperdir=$own/up,workdir=$own/work" "$own/root"
mount --bind /dev "$own/root/dev"
mount -t proc proc "$own/root/proc"
cat "$own/root/etc/passwd.more" >>"$own/root/etc/passwd"
cat "$own/root/etc/group.more" >>"$own/root/etc/group"
mkdir "$own/root/peer"
mount --bind "$directory/shared" "$own/root/peer"
chroot "$own/root" sh -e /prepare
exec chroot "$own/root" "$@"
`;
