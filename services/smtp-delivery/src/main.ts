/** The smtp-delivery daemon. See service.ts. */
import { runService } from "@postmq/service-kit";

import { startSmtpDelivery } from "./service.ts";

await runService("smtp-delivery", startSmtpDelivery);
