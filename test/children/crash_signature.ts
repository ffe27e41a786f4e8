/** One fault, caught or not: prints the signature of the one, and dies of the other. */
import process from "node:process";
import { dlopen, installCrashReporter } from "../../mod.ts";
import { aboutToDie, type Cases, exceptionOf, rawSymbols, runCase } from "../support.ts";

const [library, name, directory] = process.argv.slice(4) as [string, string, string];
const definitions = { [name]: { parameters: [], result: "i32" } } as const;
const signals = ["SIGSEGV", "SIGBUS", "SIGFPE", "SIGILL", "SIGTRAP", "SIGABRT"] as const;

const cases: Cases = {
  caught(): void {
    const { symbols } = dlopen(library, definitions, { signals });
    console.log(exceptionOf(() => symbols[name]!()).toReport().signature);
  },
  guarded(): void {
    installCrashReporter({ directory, stderr: false, formats: ["json"] });
    const { symbols } = dlopen(library, definitions, { exceptions: "propagate" });
    aboutToDie();
    symbols[name]!();
  },
  raw(): void {
    installCrashReporter({ directory, stderr: false, formats: ["json"] });
    const symbols = rawSymbols(library, definitions);
    aboutToDie();
    symbols[name]!();
  },
};

await runCase(import.meta.url, cases);
