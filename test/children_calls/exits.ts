/** Everything that has to hold after a recovery, with the exit that the arguments name. */
import { strict as assert } from "node:assert";
import { readFileSync } from "node:fs";
import process from "node:process";
import { isMainThread, Worker, workerData } from "node:worker_threads";
import { native } from "../../lib/native.ts";
import { selfTest } from "../../lib/self_test.ts";
import { callback, dlopen, HardwareException, status } from "../../mod.ts";
import { callsPath, collectGarbage, openCalls } from "../calls_support.ts";
import { arm64 } from "../platform_support.ts";
import { exceptionOf, fixturePath, openFixture, runCase } from "../support.ts";

const mode = isMainThread ? Number(process.argv[4]) : (workerData as { mode: number }).mode;
assert.equal(native().functions.fl_set_exit!(mode), 0);
const { symbols } = openFixture();

function kinds(): void {
  for (let round = 0; round < 20; round++) {
    for (const { kind, passed, error } of selfTest()) assert.ok(passed, `${kind}: ${error}`);
  }
}

const state = dlopen(fixturePath, {
  fx_change_control: { parameters: ["u32", "u32", "address"] },
  fx_set_control: { parameters: ["u32", "u32"] },
  fx_dirty_fault: { parameters: ["address"] },
  fx_alignment_fault: { parameters: ["address"] },
  fx_mxcsr: { result: "u32" },
  fx_x87_control: { result: "u32" },
  fx_x87_tags: { result: "u32" },
  fx_flags: { result: "u64" },
}).symbols;
const directionAndAlignment = 0x4_0400n;

// On arm64 FPCR stands in for MXCSR, and nothing for the x87's control word.
const controls: readonly (readonly [number, number])[] = arm64
  ? [[0, 0], [0x40_0000, 0], [0x300_0000, 0]]
  : [[0x1f80, 0x37f], [0x3f80, 0x27f], [0x9fc0, 0x77f]];

function checkState(mxcsr: number, x87: number): void {
  assert.equal(state.fx_mxcsr(), mxcsr);
  assert.equal(state.fx_x87_control(), x87);
  assert.equal(state.fx_x87_tags(), 0xffff);
  assert.equal(state.fx_flags() & directionAndAlignment, 0n);
}

function checkStates(): void {
  const odd: readonly [number, number] = arm64 ? [0xc0_0000, 0] : [0x7f80, 0xc7f];
  const memory = symbols.fx_map(4096n, 3);
  for (let round = 0; round < 200; round++) {
    for (const [mxcsr, x87] of controls) {
      state.fx_set_control(mxcsr, x87);
      const errors = [
        exceptionOf(() => state.fx_change_control(...odd, 8n)),
        exceptionOf(() => state.fx_dirty_fault(8n)),
        exceptionOf(() => state.fx_alignment_fault(memory + 13n)),
      ];
      checkState(mxcsr, x87);
      state.fx_set_control(...controls[0]!);
      assert.deepEqual(errors.map(({ code }) => code), [
        ...["SEGV_MAPERR", "SEGV_MAPERR", "BUS_ADRALN"],
      ]);
    }
  }
  // The rest is of x64: traps of floating-point exceptions, the x87, and AVX.
  if (arm64) return;
  const { cx_fltdiv, cx_x87_div } = dlopen(callsPath, {
    cx_fltdiv: { parameters: ["f64", "f64"], result: "f64" },
    cx_x87_div: { parameters: ["u32"] },
  }).symbols;
  for (let round = 0; round < 200; round++) {
    // Twice in a row (H5): the first must not leave the exception masked, or pending.
    assert.equal(exceptionOf(() => cx_fltdiv(1, 0)).code, "FPE_FLTDIV");
    assert.equal(exceptionOf(() => cx_fltdiv(1, 0)).code, "FPE_FLTDIV");
    assert.equal(exceptionOf(() => cx_x87_div(0x37b)).code, "FPE_FLTDIV");
    assert.equal(cx_fltdiv(1, 8), 0.125);
    checkState(0x1f80, 0x37f);
  }
  checkVectors();
}

function checkVectors(): void {
  if (!/\bavx\b/.test(readFileSync("/proc/cpuinfo", "utf8"))) return;
  const { cx_fault_with_upper_halves, cx_upper_halves } = dlopen(callsPath, {
    cx_fault_with_upper_halves: { parameters: ["address"] },
    cx_upper_halves: { result: "u64" },
  }).symbols;
  for (let round = 0; round < 200; round++) {
    assert.equal(exceptionOf(() => cx_fault_with_upper_halves(8n)).code, "SEGV_MAPERR");
    assert.equal(cx_upper_halves(), 0n);
  }
}

function mask(): void {
  const before = symbols.fx_signal_mask();
  for (let round = 0; round < 200; round++) {
    assert.equal(exceptionOf(() => symbols.fx_block_and_read(8n)).code, "SEGV_MAPERR");
    assert.equal(symbols.fx_signal_mask(), before);
    assert.equal(exceptionOf(() => symbols.fx_overflow(0n)).info.type, "stack-overflow");
    assert.equal(symbols.fx_signal_mask(), before);
    assert.equal(exceptionOf(() => symbols.fx_divide(1, 0)).code, "FPE_INTDIV");
    assert.equal(symbols.fx_signal_mask(), before);
  }
}

function faults(): void {
  const before = status().caught;
  const { fx_read, fx_echo_i32 } = symbols;
  let right = 0;
  for (let round = 0; round < 100_000; round++) {
    try {
      fx_read(BigInt(round & 0xfff));
    } catch (error) {
      if (error instanceof HardwareException) right += fx_echo_i32(1);
    }
  }
  assert.equal(right, 100_000);
  assert.equal(status().caught, before + 100_000n);
}

function workerFaults(): void {
  for (let round = 0; round < 20_000; round++) {
    const error = exceptionOf(() => symbols.fx_read(5n));
    if (round % 4000 === 0) collectGarbage();
    if (round % 500 === 0) {
      assert.equal(error.info.address, 5n);
      assert.equal(exceptionOf(() => symbols.fx_overflow(0n)).info.type, "stack-overflow");
    }
  }
}

async function workers(): Promise<void> {
  const running = [1, 2, 3].map(() => {
    const data = { workerData: { name: "workerFaults", mode } };
    const worker = new Worker(new URL(import.meta.url), data);
    return new Promise<void>((resolve, reject) => {
      worker.on("message", () => void worker.terminate().then(() => resolve()));
      worker.on("error", reject);
    });
  });
  workerFaults();
  await Promise.all(running);
  workerFaults();
}

function collection(): void {
  const kept: HardwareException[] = [];
  for (let round = 0; round < 3000; round++) {
    const error = exceptionOf(() => symbols.fx_read(BigInt(round)));
    if (round % 100 === 0) kept.push(error);
    if (round % 300 === 0) collectGarbage();
  }
  for (const [index, { info }] of kept.entries()) assert.equal(info.address, BigInt(index * 100));
}

function callbacks(): void {
  const calls = openCalls().symbols;
  using made = callback({ parameters: ["i32"], result: "i32" }, (value) => {
    assert.equal(exceptionOf(() => calls.cx_load(8n)).info.address, 8n);
    assert.equal(exceptionOf(() => symbols.fx_overflow(0n)).info.type, "stack-overflow");
    return value;
  });
  for (let round = 0; round < 500; round++) {
    assert.equal(calls.cx_back_i32(made, round), round);
    const error = exceptionOf(() => calls.cx_back_and_read(made, 1, 0x30n));
    assert.equal(error.info.address, 0x30n);
  }
}

async function pool(): Promise<void> {
  const library = dlopen(callsPath, {
    cx_load: { parameters: ["address"], nonblocking: true },
    cx_overflow: { parameters: ["u64"], result: "u64", nonblocking: true },
  });
  const all = Array.from({ length: 400 }, (_, index) => {
    const { cx_load, cx_overflow } = library.symbols;
    return assert.rejects(index % 8 === 0 ? cx_overflow(0n) : cx_load(1n), HardwareException);
  });
  await Promise.all(all);
  assert.equal(library.exceptionCount, 400);
}

await runCase(import.meta.url, {
  kinds,
  state: checkStates,
  mask,
  faults,
  workers,
  workerFaults,
  collection,
  callbacks,
  pool,
});
