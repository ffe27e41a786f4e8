/** Dies in a call of the runtime's own FFI, with a crash reporter; the picture in the README. */
import process from "node:process";
import { installCrashReporter } from "../../mod.ts";
import { shortList } from "../report_support.ts";
import { rawSymbols } from "../support.ts";

const [path, directory] = process.argv.slice(2) as [string, string];
installCrashReporter({ directory });
const { list_sum } = rawSymbols(path, { list_sum: { parameters: ["buffer"], result: "i32" } });
list_sum!(shortList);
