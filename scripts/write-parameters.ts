/** Writes docs/PARAMETERS.md from the parameter table. Source: STYLE §7. */
import { writeFileSync } from "node:fs";
import { describeParameters } from "@postmq/config";

writeFileSync(new URL("../docs/PARAMETERS.md", import.meta.url), describeParameters());
