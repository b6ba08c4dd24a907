/** Which of two qmgrs leads. */
import { waitFor } from "@postmq/testing";
import type { PostmqSystem } from "@postmq/testing";

import { readMetric } from "./gauges.ts";

/** @returns its index, once one of the two leads */
export async function leaderOf(system: PostmqSystem): Promise<number> {
  return await waitFor(
    async () => {
      const leads = await Promise.all(
        [0, 1].map((index) => readMetric(system.metricsUrl("qmgr", index), "postmq_qmgr_leader")),
      );
      const index = leads.indexOf(1);
      return index < 0 ? undefined : { index };
    },
    { everyMs: 100, describe: "one of them to lead" },
  ).then(({ index }) => index);
}
