/**
 * The demo's customers: they hand in mail by SMTP and by HTTP, each message entered in the ledger.
 *
 * A refusal for now (4xx, 503) is met as any sender meets it: the same message is handed in again a moment later.
 */
import { setTimeout as pause } from "node:timers/promises";
import { SmtpClient, submitJson, testMail, type Ledger, type TestMail } from "@postmq/testing";
import { senderDomain } from "./outside-world.ts";

export type Sending = {
  readonly ledger: Ledger;
  readonly domains: readonly string[];
  readonly messages: number;
  readonly smtpPort: number;
  readonly submissionUrl: string;
  /** Over how long they are spread. */
  readonly durationMs: number;
};

const smtpSessions = 6;
/** One message in so many goes in by HTTP. */
const httpEvery = 10;
const nobodyEvery = 60;
const severalRecipientsEvery = 15;
const pauseBeforeRetryMs = 300;

/** Hands in all messages. @returns how many went which way. */
export async function sendAll(sending: Sending): Promise<{ smtp: number; http: number }> {
  const sent = { smtp: 0, http: 0 };
  const startedMs = Date.now();
  let next = 0;
  const takeTurns = async (): Promise<void> => {
    using session = await openSession(sending.smtpPort);
    for (let number = next++; number < sending.messages; number = next++) {
      const dueMs = startedMs + (number / sending.messages) * sending.durationMs;
      await pause(Math.max(0, dueMs - Date.now()));
      const mail = compose(number, sending.domains);
      if (number % httpEvery === 0) {
        await handIn(mail, () => overHttp(sending.submissionUrl, mail));
        sent.http++;
      } else {
        await handIn(mail, async () => (await session.deliver(mail)).text);
        sent.smtp++;
      }
      for (const recipient of mail.to) sending.ledger.accept(mail.id, recipient);
    }
  };
  await Promise.all(Array.from({ length: smtpSessions }, takeTurns));
  return sent;
}

function openSession(port: number): Promise<SmtpClient> {
  return SmtpClient.open(port, "client.sender.example");
}

/** @throws Error when the message is refused for good. */
async function handIn(mail: TestMail, send: () => Promise<string>): Promise<void> {
  for (;;) {
    const answer = await send();
    if (/^(?:250|202)/.test(answer)) return;
    if (!/^(?:4|503)/.test(answer)) throw new Error(`message ${mail.id} was refused: ${answer}`);
    await pause(pauseBeforeRetryMs);
  }
}

async function overHttp(url: string, mail: TestMail): Promise<string> {
  const { status, body } = await submitJson(url, {
    mail_from: mail.from,
    rcpt_to: mail.to,
    raw: mail.content.toString("base64"),
  });
  return `${status} ${JSON.stringify(body)}`;
}

function compose(number: number, domains: readonly string[]): TestMail {
  const domainAt = (at: number): string => domains[at % domains.length] ?? senderDomain;
  const name = number % nobodyEvery === nobodyEvery - 1 ? `nobody${number}` : `user${number}`;
  const copies = number % severalRecipientsEvery === 0 ? 3 : 1;
  return testMail({
    from: `shop@${senderDomain}`,
    to: Array.from({ length: copies }, (_, copy) => `${name}@${domainAt(number + copy)}`),
    body: `Message ${number} of the demo.\r\n${"It has a few lines of text.\r\n".repeat(100)}`,
  });
}
