/** Faults and signals that nobody guards. Arguments: a signal and how, or "sent" and a signal. */
import { strict as assert } from "node:assert";
import process from "node:process";
import { isMainThread, Worker, workerData } from "node:worker_threads";
import { install } from "../../mod.ts";
import { getppid } from "../platform_support.ts";
import { aboutToDie, fixturePath, numbers, openFixture, rawSymbols } from "../support.ts";

const raw = rawSymbols(fixturePath, {
  fx_read: { parameters: ["u64"], result: "u64" },
  fx_map_short_file: { parameters: ["u64"], result: "u64" },
  fx_divide: { parameters: ["i32", "i32"], result: "i32" },
  fx_ud2: { parameters: [], result: "void" },
  fx_int3: { parameters: [], result: "i32" },
  fx_forbid: { parameters: ["u32"], result: "i32" },
  fx_getppid: { parameters: [], result: "i32" },
  fx_kill_self: { parameters: ["u32"], result: "i32" },
});

/** A system call that a filter answers with SIGSYS; some runtimes then let it fail. */
function forbiddenCall(): never {
  assert.equal(raw.fx_forbid!(getppid), 0);
  process.exit(raw.fx_getppid!() === -38 ? 38 : 1);
}

function fault(signal: string): void {
  if (signal === "SIGSYS") forbiddenCall();
  if (signal === "SIGSEGV") raw.fx_read!(0x10n);
  if (signal === "SIGBUS") raw.fx_read!((raw.fx_map_short_file!(1n) as bigint) + 4096n);
  if (signal === "SIGFPE") raw.fx_divide!(1, 0);
  if (signal === "SIGILL") raw.fx_ud2!();
  if (signal === "SIGTRAP") raw.fx_int3!();
  // A breakpoint that was skipped would end here.
  assert.fail(`the process survived ${signal}`);
}

if (isMainThread) {
  const [what = "", how = ""] = process.argv.slice(2);
  if (how !== "bare") {
    install({ signals: ["SIGSEGV", "SIGBUS", "SIGFPE", "SIGILL", "SIGTRAP", "SIGABRT", "SIGSYS"] });
    // A guarded call before and an open library must make no difference.
    assert.throws(() => openFixture().symbols.fx_ud2(), { code: "ILL_ILLOPN" });
  }
  aboutToDie();
  if (what === "sent") raw.fx_kill_self!(numbers[how as "SIGABRT" | "SIGSYS"]);
  else if (how === "worker") new Worker(new URL(import.meta.url), { workerData: what });
  else fault(what);
} else {
  assert.throws(() => openFixture().symbols.fx_ud2(), { code: "ILL_ILLOPN" });
  fault(workerData as string);
}
