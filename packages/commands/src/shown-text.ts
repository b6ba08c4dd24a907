const longestShown = 100;

/** What somebody typed, for a message: no longer than needed, and nothing that moves a terminal's cursor. */
export function shownText(text: string): string {
  const shown = text.toWellFormed().replaceAll(/[\p{Cc}\u2028\u2029]/gu, "?");
  return shown.length > longestShown ? `${shown.slice(0, longestShown)}...` : shown;
}

/** Lines for somebody at a terminal, whatever is quoted in them. */
export function shownLines(text: string): string {
  return text.replaceAll(/[^\P{Cc}\n\t]/gu, "?");
}
