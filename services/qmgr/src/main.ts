/** The scheduler as a process. */
import { runService } from "@postmq/service-kit";
import { startQmgr } from "./service.ts";

await runService("qmgr", startQmgr);
