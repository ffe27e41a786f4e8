/** The command `faultline report`. */
import process from "node:process";
import { report } from "../../lib/cli/report.ts";

process.exitCode = await report(process.argv.slice(2));
