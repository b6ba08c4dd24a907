/** The server's side of AUTH: asks what the mechanism asks and hands back what came. */
import type { Credentials } from "./fake-smtp-stages.ts";

/** What each mechanism is asked, in order; the first answer may come with the command. */
const challenges: ReadonlyMap<string, readonly string[]> = new Map([
  ["PLAIN", [""]],
  ["LOGIN", ["Username:", "Password:"]],
  ["CRAM-MD5", ["<1896.697170952@fake.example.com>"]],
  ["XOAUTH2", [""]],
]);

/**
 * @param ask sends a challenge, already in base64, and gives the client's line
 * @returns the reply to send when there are no credentials: an unknown mechanism, or the client gave up
 */
export async function askCredentials(
  line: string,
  ask: (challenge: string) => Promise<string>,
): Promise<Credentials | string> {
  const [, name = "", initial] = line.split(" ");
  const mechanism = name.toUpperCase();
  const questions = challenges.get(mechanism);
  if (questions === undefined) return "504 5.5.4 Unrecognized authentication type";
  const answers: string[] = [];
  for (const [at, question] of questions.entries()) {
    const isGiven = at === 0 && initial !== undefined;
    const answer = isGiven ? initial : await ask(Buffer.from(question).toString("base64"));
    if (answer === "*") return "501 5.7.0 Authentication cancelled";
    answers.push(answer === "=" ? "" : Buffer.from(answer, "base64").toString("utf8"));
  }
  return { mechanism, answers, ...readUser(mechanism, answers) };
}

function readUser(mechanism: string, answers: readonly string[]) {
  const [first = "", second = ""] = answers;
  if (mechanism === "LOGIN") return { user: first, password: second };
  if (mechanism === "CRAM-MD5") return { user: first.split(" ")[0] ?? "", password: "" };
  if (mechanism !== "PLAIN") return { user: "", password: "" };
  const [, user = "", password = ""] = first.split("\0");
  return { user, password };
}
