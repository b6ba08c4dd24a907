/** Times as the HTTP API tells them: whole seconds since 1970, as `postqueue -j` does. Source: spec http-api.md §2. */

export function seconds(ms: number): number {
  return Math.floor(ms / 1000);
}

/** `{ [name]: seconds }`, or nothing for a time that is not there. */
export function optionalSeconds(name: string, ms: number | undefined): Record<string, number> {
  return ms === undefined ? {} : { [name]: seconds(ms) };
}
