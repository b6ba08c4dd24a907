/**
 * The multiparts that are open at a place in a message, found by the boundary that a line begins with.
 *
 * Boundaries are looked up by their text, once for each length that occurs among them and fits into the line. So a line
 * costs by its own length and not by how deep multiparts are nested.
 *
 * Source: RFC 2046 §5.1.1; Postfix src/global/mime_state.c (mime_state_push, mime_state_pop).
 */
export class OpenMultiparts<Multipart extends { readonly boundary: string }> {
  /** The innermost last. */
  readonly #open: Multipart[] = [];
  /** Places in #open, the innermost last, by boundary. */
  readonly #places = new Map<string, number[]>();
  /** How many boundaries of each length are open. */
  readonly #counts = new Map<number, number>();
  /** The lengths that occur, the shortest first. */
  #lengths: readonly number[] = [];

  get depth(): number {
    return this.#open.length;
  }

  /** @param multipart its boundary: two dashes first, one character per byte */
  push(multipart: Multipart): void {
    const { boundary } = multipart;
    const places = this.#places.get(boundary);
    if (places === undefined) this.#places.set(boundary, [this.#open.length]);
    else places.push(this.#open.length);
    this.#open.push(multipart);
    this.#count(boundary.length, 1);
  }

  /** Closes those within this one, and the one itself unless it `stays`. */
  closeDownTo(multipart: Multipart, options: { readonly stays: boolean }): void {
    const kept = this.#open.lastIndexOf(multipart) + (options.stays ? 1 : 0);
    for (const { boundary } of this.#open.splice(kept).toReversed()) {
      const places = this.#places.get(boundary);
      places?.pop();
      if (places?.length === 0) this.#places.delete(boundary);
      this.#count(boundary.length, -1);
    }
  }

  /** The innermost whose boundary this line begins with. */
  dividedBy(line: Buffer): Multipart | undefined {
    const shortest = this.#lengths[0];
    if (shortest === undefined || line.length < shortest) return undefined;
    const text = line.toString("latin1", 0, this.#lengths.at(-1) ?? 0);
    let innermost = -1;
    for (const length of this.#lengths) {
      if (length > text.length) break;
      const place = this.#places.get(text.slice(0, length))?.at(-1);
      if (place !== undefined && place > innermost) innermost = place;
    }
    return this.#open[innermost];
  }

  #count(length: number, change: number): void {
    const count = (this.#counts.get(length) ?? 0) + change;
    const isKnown = this.#counts.has(length);
    if (count === 0) this.#counts.delete(length);
    else this.#counts.set(length, count);
    if (isKnown && count > 0) return;
    this.#lengths = [...this.#counts.keys()].toSorted((one, other) => one - other);
  }
}
