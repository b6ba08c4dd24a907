/** A reporter for `node --test` that writes nothing but the counts of the whole run, as JSON. */
import type { EventData } from "node:test";

type TestEvent = { readonly type: string; readonly data: unknown };

export default async function* countsReporter(
  events: AsyncIterable<TestEvent>,
): AsyncGenerator<string> {
  for await (const event of events) {
    if (event.type !== "test:summary") continue;
    const summary = event.data as EventData.TestSummary;
    // One with a file is that file's own.
    if (summary.file !== undefined) continue;
    const { tests, passed, skipped, todo } = summary.counts;
    yield JSON.stringify({ passed, failed: tests - passed - skipped - todo, skipped });
  }
}
