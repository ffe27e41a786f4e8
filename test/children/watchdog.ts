/** Blocks in native code with a watchdog that the arguments describe. */
import process from "node:process";
import { dumpLater } from "../../mod.ts";
import { rawSymbols } from "../support.ts";

const [library = "", timeoutMs = "", options = "{}", what = ""] = process.argv.slice(2);
const { cf_sleep } = rawSymbols(library, { cf_sleep: { parameters: ["i32"], result: "i32" } });
const watchdog = dumpLater(Number(timeoutMs), JSON.parse(options) as { exit?: boolean });
if (what === "cancel") watchdog[Symbol.dispose]();
cf_sleep!(2);
console.log("survived");
