/**
 * Reading a request field by field: everything wrong with it is told at once, each with the name of its field.
 *
 * Fields are looked up among an object's own members only, and members that nobody knows are errors, so that nothing
 * a caller asked for is silently left undone.
 *
 * Source: spec http-api.md §1 ("refused with 422, never ignored"); security.md 3, 5, 8.
 */

export type FieldError = { readonly field: string; readonly detail: string };

export class FieldErrors {
  readonly #errors: FieldError[] = [];

  add(field: string, detail: string): undefined {
    this.#errors.push({ field, detail });
    return undefined;
  }

  get all(): readonly FieldError[] {
    return this.#errors;
  }

  /** The members of an object, after a look at their names; undefined if it is none. */
  members(
    value: unknown,
    field: string,
    names: { readonly known: readonly string[]; readonly later?: readonly string[] },
  ): ReadonlyMap<string, unknown> | undefined {
    if (typeof value !== "object" || value === null || Array.isArray(value)) {
      return this.add(field === "" ? "body" : field, "must be an object");
    }
    const members = new Map<string, unknown>(Object.entries(value));
    const prefix = field === "" ? "" : `${field}.`;
    for (const name of members.keys()) {
      if (names.known.includes(name)) continue;
      const isLater = names.later?.includes(name) === true;
      const shown = `${prefix}${name.slice(0, 100)}`;
      this.add(shown, isLater ? "is not supported by this version" : "is not known");
    }
    return members;
  }

  /** A text without line breaks or other control characters, fit for a header or an address. */
  line(value: unknown, field: string): string | undefined {
    const text = this.text(value, field);
    if (text === undefined) return undefined;
    return /[\p{Cc}\p{Zl}\p{Zp}]/u.test(text)
      ? this.add(field, "must have no line breaks or control characters")
      : text;
  }

  text(value: unknown, field: string): string | undefined {
    if (typeof value !== "string") return this.add(field, "must be a string");
    return value.isWellFormed() ? value : this.add(field, "must be well-formed Unicode");
  }

  /** A list, or a single value for a list of one. */
  list(value: unknown): readonly unknown[] {
    return Array.isArray(value) ? value : [value];
  }

  base64(value: unknown, field: string): Buffer | undefined {
    if (typeof value !== "string") return this.add(field, "must be a string of base64");
    const packed = value.replaceAll(/[\r\n]/g, "");
    const isBase64 = packed.length % 4 === 0 && /^[A-Za-z0-9+/]*={0,2}$/.test(packed);
    return isBase64 ? Buffer.from(packed, "base64") : this.add(field, "is not base64");
  }
}
