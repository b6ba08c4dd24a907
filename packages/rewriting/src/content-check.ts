/**
 * What a header or body check asks to be done with a line, and what is left of the line then.
 *
 * Here are the actions that change content or only talk about it, which are those that a check may take while mail is
 * sent. An action that is malformed or not known is told in a warning, and the line stays as it is.
 *
 * Source: header_checks(5); spec rewriting-and-checks.md §4; Postfix src/global/header_body_checks.c.
 */
export type CheckNotice = (level: "info" | "warning", text: string) => void;

export type CheckedLine = {
  /** To go before the line. */
  readonly prepended?: string;
  /** The line as it goes on; undefined: it does not. */
  readonly line?: string;
};

export type LineKind = "header" | "body";

/**
 * @param check what the table says, e.g. `REPLACE Subject: x`
 * @param mapName the parameter, for warnings
 */
export function applyCheck(
  check: string,
  line: string,
  { kind, mapName }: { readonly kind: LineKind; readonly mapName: string },
  notice: CheckNotice,
): CheckedLine {
  const [, word = "", text = ""] = /^(\S*)\s*(.*)$/s.exec(check) ?? [];
  const action = word.toUpperCase();
  const log = (name: string) =>
    notice("info", `${name}: ${kind} ${shown(line)}${text === "" ? "" : `: ${text}`}`);
  switch (action) {
    case "WARN":
      log("warning");
      return { line };
    case "INFO":
      log("info");
      return { line };
    case "DUNNO":
    case "OK":
      return { line };
    case "IGNORE":
      return {};
    case "STRIP":
      log("strip");
      return {};
    case "REPLACE":
    case "PREPEND": {
      const problem = textProblem(action, text, kind, mapName);
      if (problem !== undefined) {
        notice("warning", problem);
        return { line };
      }
      log(action.toLowerCase());
      return action === "REPLACE" ? { line: text } : { prepended: text, line };
    }
    default:
      notice("warning", `unsupported command in ${mapName} map: ${word}`);
      return { line };
  }
}

function textProblem(
  action: string,
  text: string,
  kind: LineKind,
  mapName: string,
): string | undefined {
  if (text === "") return `${action} action without text in ${mapName} map`;
  if (kind === "body" || /^[!-9;-~]+[ \t]*:/.test(text)) return undefined;
  return `bad ${action} header text "${text}" in ${mapName} map -- need "headername: headervalue"`;
}

/** At most 200 characters, on one line. */
function shown(line: string): string {
  return line
    .slice(0, 200)
    .replaceAll(/\s*\n\s*/g, " ")
    .replaceAll(/\p{Cc}/gu, "?");
}
