import { runService } from "@postmq/service-kit";

import { startSmtpd } from "./service.ts";

await runService("smtpd", startSmtpd);
