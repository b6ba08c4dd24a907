/** The bounce daemon as a process. */
import { runService } from "@postmq/service-kit";
import { startBounce } from "./service.ts";

await runService("bounce", startBounce);
