import { runService } from "@postmq/service-kit";
import { startPickup } from "./service.ts";

await runService("pickup", startPickup);
