import { runService } from "@postmq/service-kit";
import { startShowq } from "./service.ts";

await runService("showq", startShowq);
