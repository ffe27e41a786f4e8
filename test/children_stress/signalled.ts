/**
 * Runs calls in a loop until SIGUSR2, most of the time inside one, while another process sends it
 * signals. The argument says how it calls: `alone` (the runtime's own FFI), `installed` (guarded)
 * or `named` (guarded, and the calls name every signal).
 */
import { strict as assert } from "node:assert";
import process from "node:process";

import { dlopen, install, type SignalName } from "../../mod.ts";
import { exceptionOf, fixturePath, rawSymbols } from "../support.ts";

const mode = process.argv[2];
const names: readonly SignalName[] = [
  "SIGSEGV",
  "SIGBUS",
  "SIGFPE",
  "SIGILL",
  "SIGTRAP",
  "SIGABRT",
  "SIGSYS",
];
const options = mode === "named" ? { signals: names } : {};

function openSleep(): (microseconds: number) => unknown {
  if (mode === "alone") {
    const { usleep } = rawSymbols("libc.so.6", {
      usleep: { parameters: ["u32"], result: "i32" },
    });
    return usleep!;
  }
  install({ signals: names });
  const definitions = { usleep: { parameters: ["u32"], result: "i32" } } as const;
  return dlopen("libc.so.6", definitions, options).symbols.usleep;
}

/** Faults of every kind that are caught, which no sent signal may have prevented. */
function checkGuards(): void {
  if (mode === "alone") return;
  const { symbols } = dlopen(fixturePath, {
    fx_read: { parameters: ["address"], result: "u64" },
    fx_divide: { parameters: ["i32", "i32"], result: "i32" },
    fx_ud2: {},
    fx_int3: {},
  }, options);
  for (let round = 0; round < 3; round++) {
    assert.equal(exceptionOf(() => symbols.fx_read(8n)).info.address, 8n);
    assert.equal(exceptionOf(() => symbols.fx_divide(1, 0)).code, "FPE_INTDIV");
    assert.equal(exceptionOf(() => symbols.fx_ud2()).info.signal, "SIGILL");
    assert.equal(exceptionOf(() => symbols.fx_int3()).info.signal, "SIGTRAP");
  }
}

const sleep = openSleep();
checkGuards();
process.on("SIGUSR2", () => {
  checkGuards();
  console.log("survived");
  process.exit(0);
});

function step(): void {
  sleep(3000);
  setTimeout(step);
}
step();
console.log("ready");
