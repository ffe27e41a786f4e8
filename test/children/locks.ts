/**
 * Faults below the dynamic loader's lock and below stdout's. They stay held, and the process could
 * not end in its own way: it says what it saw and kills itself.
 */
import { strict as assert } from "node:assert";
import { writeSync } from "node:fs";
import process from "node:process";
import { dlopen } from "../../mod.ts";
import { exceptionOf } from "../support.ts";

const { symbols } = dlopen("libc.so.6", {
  dlsym: { parameters: ["address", "address"], result: "address" },
  printf: { parameters: ["buffer", "address"], result: "i32" },
}, { afterException: "continue" });

const cases: Readonly<Record<string, () => unknown>> = {
  dlsym: () => symbols.dlsym(0n, 0x20n),
  printf: () => symbols.printf(new TextEncoder().encode("%s\0"), 0x20n),
};
const name = process.argv[2]!;
const { info } = exceptionOf(cases[name]!);
assert.equal(info.safety, "suspect");
assert.ok(info.suspects.includes(name), info.suspects.join());
writeSync(1, "suspect\n");
process.kill(process.pid, "SIGKILL");
