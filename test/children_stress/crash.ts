/**
 * An unguarded fault through the runtime's own FFI, which has to end the process. Arguments: the
 * kind; `alone` or `installed`; `main` or `worker`.
 */
import { strict as assert } from "node:assert";
import { writeSync } from "node:fs";
import process from "node:process";
import { isMainThread, Worker, workerData } from "node:worker_threads";

import { install, status } from "../../mod.ts";
import { exceptionOf, fixturePath, openFixture, rawSymbols } from "../support.ts";
import { isFaultlineLoaded } from "./holdings.ts";

const raw = rawSymbols(fixturePath, {
  fx_read: { parameters: ["u64"], result: "u64" },
  fx_divide: { parameters: ["i32", "i32"], result: "i32" },
  fx_ud2: { parameters: [], result: "void" },
  fx_int3: { parameters: [], result: "i32" },
  fx_hlt: { parameters: [], result: "void" },
  fx_overflow: { parameters: ["u64"], result: "u64" },
  fx_map_short_file: { parameters: ["u64"], result: "u64" },
  fx_read_on_thread: { parameters: ["u64"], result: "i32" },
  fx_raise: { parameters: ["u32"], result: "i32" },
});

const faults: Readonly<Record<string, () => unknown>> = {
  SEGV: () => raw.fx_read!(0n),
  GPF: () => raw.fx_hlt!(),
  FPE: () => raw.fx_divide!(1, 0),
  ILL: () => raw.fx_ud2!(),
  TRAP: () => raw.fx_int3!(),
  BUS: () => raw.fx_read!(BigInt(raw.fx_map_short_file!(16) as bigint | number) + 4096n),
  overflow: () => raw.fx_overflow!(0n),
  thread: () => raw.fx_read_on_thread!(0n),
  abort: () => raw.fx_raise!(6),
};

function crash(kind: string, mode: string): void {
  if (mode === "installed") {
    const { symbols } = openFixture();
    install({ signals: ["SIGSEGV", "SIGBUS", "SIGFPE", "SIGILL", "SIGTRAP", "SIGABRT", "SIGSYS"] });
    assert.equal(exceptionOf(() => symbols.fx_read(8n)).info.address, 8n);
    assert.equal(exceptionOf(() => symbols.fx_divide(1, 0)).info.signal, "SIGFPE");
    assert.equal(status().signals.SIGSEGV.owner, "faultline");
  }
  assert.equal(isFaultlineLoaded(), mode === "installed");
  // At once: what a Worker of Bun prints through the console would be lost.
  writeSync(1, "about to die\n");
  faults[kind]!();
  writeSync(1, "still alive\n");
}

const [kind = "", mode = "", where = ""] = process.argv.slice(2);
if (!isMainThread) {
  const task = workerData as { kind: string; mode: string };
  crash(task.kind, task.mode);
} else if (where === "worker") {
  new Worker(new URL(import.meta.url), { workerData: { kind, mode } });
} else {
  crash(kind, mode);
}
