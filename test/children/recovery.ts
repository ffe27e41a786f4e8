/** Faults that must not be recovered, and a mask that must not be reset. */
import { strict as assert } from "node:assert";
import { dlopen } from "../../mod.ts";
import { arm64 } from "../platform_support.ts";
import {
  aboutToDie,
  exceptionOf,
  fixturePath,
  numbers,
  openFixture,
  rawCallback,
  rawSymbols,
  runCase,
} from "../support.ts";

const { symbols } = openFixture();

function maskOfEarlierCall(): void {
  exceptionOf(() => symbols.fx_read(0n));
  const page = symbols.fx_map(4096, 3);
  // Returns as usual, with SIGUSR2 blocked: a library that sets up its thread does such things.
  assert.equal(symbols.fx_block_and_read(page), 0n);
  const blocked = symbols.fx_signal_mask();
  assert.notEqual(blocked & (1n << BigInt(numbers.SIGUSR2 - 1)), 0n);
  // A call does not look at the mask, which takes a system call; opening a symbol does.
  using _noted = openFixture();
  exceptionOf(() => symbols.fx_read(0n));
  assert.equal(symbols.fx_signal_mask(), blocked);
}

function trashedStack(): void {
  const { fx_trash_stack } =
    dlopen(fixturePath, { fx_trash_stack: { parameters: ["address"] } }).symbols;
  exceptionOf(() => symbols.fx_read(0n));
  aboutToDie();
  fx_trash_stack(0n);
}

function otherThread(): void {
  const { fx_read_on_thread } = dlopen(fixturePath, {
    fx_read_on_thread: { parameters: ["address"], result: "i32" },
  }).symbols;
  const page = symbols.fx_map(4096, 3);
  assert.equal(fx_read_on_thread(page), 0);
  aboutToDie();
  fx_read_on_thread(0n);
}

function afterCall(): void {
  const raw = rawSymbols(fixturePath, { fx_read: { parameters: ["u64"], result: "u64" } });
  exceptionOf(() => symbols.fx_read(0n));
  symbols.fx_echo_i32(1);
  aboutToDie();
  raw.fx_read!(0n);
}

function aboveBarrier(): void {
  const { fx_callback } = dlopen(fixturePath, {
    fx_callback: { parameters: ["function", "i32"], result: "i32" },
  }).symbols;
  const raw = rawSymbols(fixturePath, {
    fx_divide: { parameters: ["i32", "i32"], result: "i32" },
    fx_ud2: { parameters: [], result: "void" },
  });
  const callback = rawCallback((value) => {
    // A division by zero, which arm64 does not trap.
    if (arm64 && value === 0) raw.fx_ud2!();
    return raw.fx_divide!(6, value) as number;
  });
  exceptionOf(() => symbols.fx_read(0n));
  assert.equal(fx_callback(callback.pointer, 2), 4);
  aboutToDie();
  fx_callback(callback.pointer, 0);
}

await runCase(import.meta.url, {
  aboveBarrier,
  maskOfEarlierCall,
  trashedStack,
  otherThread,
  afterCall,
});
