/**
 * What a key of an instance is, by its name: a record, an index, something beside a record, or none of the check's business.
 *
 * Source: docs/ARCHITECTURE.md "Keys of an instance".
 */
import { isMessageQueue } from "@postmq/vocabulary";

type PartKind = "c" | "m" | "md" | "away";

export type CheckedKey =
  | { readonly is: "record"; readonly id: string }
  | { readonly is: "index"; readonly key: string; readonly kind: string; readonly queue: string }
  | {
      readonly is: "part";
      readonly key: string;
      /** c content, m further recipients, md counts of domains, away the record of a message that moves. */
      readonly kind: PartKind;
      readonly id: string;
      /** For content its whole name, for the others what follows the id. */
      readonly rest: string;
    };

/** @param name without the instance's prefix */
export function checkedKey(prefix: string, name: string): CheckedKey | undefined {
  const key = `${prefix}:${name}`;
  const [kind = "", ...words] = name.split(":");
  const rest = words.join(":");
  switch (kind) {
    case "m":
      if (/^\w+$/.test(rest)) return { is: "record", id: rest };
      return partOf(key, kind, /^(\w+):(\d+:\d+)$/.exec(rest));
    case "md":
      return partOf(key, kind, /^(\w+):(\d+)$/.exec(rest));
    case "c":
      return partOf(key, kind, /^(?=(\w+))(.+)$/s.exec(rest));
    case "q":
    case "e":
    case "l":
      return isMessageQueue(rest) ? { is: "index", key, kind, queue: rest } : undefined;
    case "s":
    case "d":
    case "x": {
      const [queue = "", hash = ""] = words;
      const isOne = words.length === 2 && isMessageQueue(queue) && /^[\da-f]{16}$/.test(hash);
      return isOne ? { is: "index", key, kind, queue } : undefined;
    }
    case "f":
      return /^[\da-f]{16}$/.test(rest) ? { is: "index", key, kind, queue: "" } : undefined;
    case "away":
      return partOf(key, kind, /^(?=(\w+)$)(.+)$/.exec(rest));
    case "due":
    case "owed":
    case "moving":
      return words.length === 0 ? { is: "index", key, kind, queue: "" } : undefined;
    default:
      return undefined;
  }
}

function partOf(
  key: string,
  kind: PartKind,
  match: RegExpExecArray | null,
): CheckedKey | undefined {
  const [, id, rest] = match ?? [];
  return id === undefined || rest === undefined ? undefined : { is: "part", key, kind, id, rest };
}
