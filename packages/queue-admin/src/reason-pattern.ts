/**
 * Patterns over reasons, in a linear engine (RE2): none of them goes on for seconds at one reason, whoever wrote it. At
 * many reasons it may: who looks at these lets others have their turn between two of them.
 *
 * Departs: neither back-references nor look-around (PCRE) exist in it; a pattern with one is refused.
 *
 * Source: spec http-api.md §2 `reason~`; LIBRARIES.md "header_checks regex".
 */
import { RE2JS } from "re2js";

/** Patterns are compiled, and sought in texts of 1 000 characters, on the thread that serves others too. */
const longestPattern = 250;
const mostRepetitions = 100;
/** Of most messages in a page the reason is one of a few. */
const mostRemembered = 1000;

export type ReasonPattern = { readonly test: (text: string) => boolean };

/** @throws RangeError saying what is wrong with it, and where */
export function compileReason(pattern: string): ReasonPattern {
  if (pattern.length > longestPattern) {
    throw new RangeError(`is longer than ${longestPattern} characters`);
  }
  // Each repetition is a copy of what is repeated. A brace behind a backslash is none, unless that is escaped itself.
  const counts = pattern.matchAll(/\\.|\{(\d*),?(\d*)\}/gs);
  if (
    [...counts].some(
      ([, least, most]) => Number(least) > mostRepetitions || Number(most) > mostRepetitions,
    )
  ) {
    throw new RangeError(`repeats something more than ${mostRepetitions} times`);
  }
  try {
    const compiled = RE2JS.compile(pattern);
    return { test: remembering((text) => compiled.test(text)) };
  } catch (error) {
    throw new RangeError(`is no pattern of RE2: ${placeOf(error, pattern)}`, { cause: error });
  }
}

function remembering(test: ReasonPattern["test"]): ReasonPattern["test"] {
  const verdicts = new Map<string, boolean>();
  return (text) => {
    const known = verdicts.get(text);
    if (known !== undefined) return known;
    if (verdicts.size >= mostRemembered) verdicts.clear();
    const verdict = test(text);
    verdicts.set(text, verdict);
    return verdict;
  };
}

/** The engine names the piece that it can't take; where that begins helps in a long pattern. */
function placeOf(error: unknown, pattern: string): string {
  const said = error instanceof Error ? error.message.replace(/^error parsing regexp: /, "") : "";
  const piece = /`(.*)`$/s.exec(said)?.[1];
  const at = piece === undefined ? pattern.length - 1 : pattern.indexOf(piece);
  return `${said === "" ? "it makes no sense" : said} at character ${Math.max(at, 0) + 1}`;
}
