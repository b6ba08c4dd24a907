import { runService } from "@postmq/service-kit";
import { startCleanup } from "./service.ts";

await runService("cleanup", startCleanup);
