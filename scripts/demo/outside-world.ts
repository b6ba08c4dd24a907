/**
 * The rest of the internet, for the demo: some thirty mail hosts, each a server of its own on this machine.
 *
 * Most take what they get. A few are slow, one greylists, one is down at first, one knows none of its recipients;
 * and everywhere a recipient whose name begins with "nobody" is refused. Reports go back to the sender's host.
 */
import { FakeSmtpServer, type Behaviour, type Decide, type StageEvent } from "@postmq/testing";

export const senderDomain = "sender.example";

export type MailHost = {
  readonly domain: string;
  readonly server: FakeSmtpServer;
};

/** How many answers put mail off, over all hosts. */
export type Tally = { putOff: number; refused: number };

const healthyHosts = 26;
const greylistMs = 4_000;
const downMs = 8_000;

export async function openOutsideWorld(
  stack: AsyncDisposableStack,
): Promise<{ readonly hosts: readonly MailHost[]; readonly tally: Tally }> {
  const tally: Tally = { putOff: 0, refused: 0 };
  const deciders: [string, Decide][] = [
    ["slow.example", slow],
    ["greylisting.example", greylisting()],
    ["away.example", downAtFirst()],
    ["gone.example", knowingNobody],
  ];
  for (let number = 1; number <= healthyHosts; number++) {
    deciders.push([`host${String(number).padStart(2, "0")}.example`, () => undefined]);
  }
  deciders.push([senderDomain, () => undefined]);
  const hosts: MailHost[] = [];
  for (const [domain, decide] of deciders) {
    const server = await FakeSmtpServer.start({ decide: counted(decide, tally) });
    hosts.push({ domain, server: stack.use(server) });
  }
  return { hosts, tally };
}

/** Refuses nobodies, then asks the host; counts what is not taken. */
function counted(decide: Decide, tally: Tally): Decide {
  return async (event) => {
    const behaviour = isNobody(event) ? knowingNobody(event) : await decide(event);
    const reply = behaviour?.reply ?? "";
    if (reply.startsWith("4")) tally.putOff++;
    if (reply.startsWith("5")) tally.refused++;
    return behaviour;
  };
}

function isNobody({ stage, recipient }: StageEvent): boolean {
  return stage === "rcpt" && recipient.startsWith("nobody");
}

function knowingNobody({ stage }: StageEvent): Behaviour | undefined {
  return stage === "rcpt" ? { reply: "550 5.1.1 No such user here" } : undefined;
}

function slow({ stage }: StageEvent): Behaviour | undefined {
  return stage === "dot" ? { delayMs: 400 } : undefined;
}

/** Puts off the first tries of each recipient. */
function greylisting(): Decide {
  const firstSeenMs = new Map<string, number>();
  return ({ stage, recipient }) => {
    if (stage !== "rcpt") return undefined;
    const nowMs = Date.now();
    const seenMs = firstSeenMs.get(recipient) ?? nowMs;
    firstSeenMs.set(recipient, seenMs);
    if (nowMs - seenMs >= greylistMs) return undefined;
    return { reply: "450 4.2.0 Greylisted, try again later" };
  };
}

function downAtFirst(): Decide {
  let firstSeenMs: number | undefined;
  return ({ stage }) => {
    if (stage !== "greeting") return undefined;
    firstSeenMs ??= Date.now();
    if (Date.now() - firstSeenMs >= downMs) return undefined;
    return { reply: "421 4.3.2 Closed for maintenance", cut: "after" };
  };
}
