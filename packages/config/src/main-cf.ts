/**
 * The syntax of main.cf: `name = value` lines, continued by lines that begin with white space.
 *
 * Empty lines and lines whose first character other than white space is `#` are skipped, also amid a continued
 * value. The last setting of a name wins.
 *
 * Source: postconf(5) "main.cf file format".
 */
import { PostmqError } from "@postmq/vocabulary";

/** @throws PMQ_CONFIG_INVALID naming file and line when a line is no setting. */
export function parseMainCf(content: string, fileName: string): ReadonlyMap<string, string> {
  const settings = new Map<string, string>();
  let current: string | undefined;
  for (const [index, line] of content.split(/\r?\n/).entries()) {
    if (/^\s*(?:#|$)/.test(line)) continue;
    if (/^\s/.test(line)) {
      if (current === undefined) {
        throw badLine(fileName, index + 1, "a line that begins with white space continues nothing");
      }
      settings.set(current, `${settings.get(current) ?? ""} ${line.trim()}`.trim());
      continue;
    }
    const match = /^([A-Za-z0-9_-]+)\s*=\s*(.*?)\s*$/.exec(line);
    const name = match?.[1];
    if (name === undefined)
      throw badLine(fileName, index + 1, 'it is not of the form "name = value"');
    current = name;
    settings.set(name, match?.[2] ?? "");
  }
  return settings;
}

function badLine(fileName: string, line: number, problem: string): PostmqError {
  return new PostmqError("PMQ_CONFIG_INVALID", `${fileName}, line ${line}: ${problem}`, {
    facts: { file: fileName, line },
  });
}
