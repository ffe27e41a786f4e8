/** What a recovery restores: registers, flags, floating-point control, the signal mask. */
import { strict as assert } from "node:assert";
import { test } from "node:test";
import { dlopen } from "../mod.ts";
import { arm64, x64Only } from "./platform_support.ts";
import { childDies, childPasses, exceptionOf, fixturePath, openFixture } from "./support.ts";

const { symbols } = openFixture();
const state = dlopen(fixturePath, {
  fx_set_control: { parameters: ["u32", "u32"] },
  fx_change_control: { parameters: ["u32", "u32", "address"] },
  fx_mxcsr: { result: "u32" },
  fx_x87_control: { result: "u32" },
  fx_x87_tags: { result: "u32" },
  fx_flags: { result: "u64" },
  fx_dirty_fault: { parameters: ["address"] },
  fx_alignment_fault: { parameters: ["address"] },
}).symbols;

const stacks = dlopen(fixturePath, {
  fx_read_on_stack: { parameters: ["address", "address"], result: "u64" },
  fx_push_on_stack: { parameters: ["address"] },
}).symbols;

// On arm64 FPCR stands in for MXCSR, and nothing for the x87's control word.
const mxcsrDefault = arm64 ? 0 : 0x1f80;
const x87Default = arm64 ? 0 : 0x37f;
/** Every rounding mode, flush to zero, and x87's short precision. */
const oddControls: readonly (readonly [number, number])[] = arm64
  ? [[0x40_0000, 0], [0x80_0000, 0], [0xc0_0000, 0], [0x300_0000, 0]]
  : [[0x3f80, 0x77f], [0x5f80, 0xb7f], [0x7f80, 0xf7f], [0xffc0, 0x27f]];
/** All exceptions unmasked, where the CPU has that: it would stop JavaScript soon. */
const unmasked: readonly [number, number] = arm64 ? [0x340_0000, 0] : [0, 0x340];

/** Another kind of fault than a bad address. */
function otherFault(): void {
  if (arm64) symbols.fx_ud2();
  else symbols.fx_divide(1, 0);
}

/** Runs `body` with the thread's floating-point control words set, and puts them back. */
function withControl(mxcsr: number, x87: number, body: () => void): void {
  state.fx_set_control(mxcsr, x87);
  try {
    body();
  } finally {
    state.fx_set_control(mxcsrDefault, x87Default);
  }
}

/** The control words now. */
function control(): number[] {
  return [state.fx_mxcsr(), state.fx_x87_control()];
}

test("H42 dlopen() finds the default control words, and leaves them", () => {
  assert.deepEqual(control(), [mxcsrDefault, x87Default]);
  exceptionOf(() => symbols.fx_read(0n));
  assert.deepEqual(control(), [mxcsrDefault, x87Default]);
});

test("H42 dlopen() keeps the caller's MXCSR and x87 control word across a fault", () => {
  for (const [mxcsr, x87] of oddControls) {
    const seen: number[][] = [];
    withControl(mxcsr, x87, () => {
      for (const address of [0n, 2n ** 63n]) {
        exceptionOf(() => symbols.fx_read(address));
        seen.push(control());
      }
      exceptionOf(otherFault);
      seen.push(control());
    });
    assert.deepEqual(seen, Array(3).fill([mxcsr, x87]));
  }
});

test("H42 dlopen() undoes changes that the faulting function made to the control words", () => {
  const [odd, second, third] = oddControls as [
    [number, number],
    [number, number],
    [number, number],
  ];
  exceptionOf(() => state.fx_change_control(...third, 0n));
  assert.deepEqual(control(), [mxcsrDefault, x87Default]);
  exceptionOf(() => state.fx_change_control(...unmasked, 0n));
  assert.deepEqual(control(), [mxcsrDefault, x87Default]);
  assert.equal(symbols.fx_echo_f64(1) / 3, 1 / 3);
  let seen: number[] = [];
  withControl(...second, () => {
    exceptionOf(() => state.fx_change_control(...odd, 8n));
    seen = control();
  });
  assert.deepEqual(seen, second);
});

const floatTraps = x64Only("every CPU traps floating-point exceptions");

test("H5 dlopen() catches an unmasked float division, twice in a row", floatTraps, () => {
  const { fx_float_divide } = dlopen(fixturePath, {
    fx_float_divide: { parameters: ["u32", "f64", "f64"], result: "f64" },
  }).symbols;
  const divideUnmasked = mxcsrDefault & ~0x200;
  for (let round = 0; round < 2; round++) {
    const { info } = exceptionOf(() => fx_float_divide(divideUnmasked, 1, 0));
    assert.deepEqual([info.signal, info.code, info.type], ["SIGFPE", "FPE_FLTDIV", "arithmetic"]);
    assert.equal(info.address, info.instructionPointer);
    assert.deepEqual(control(), [mxcsrDefault, x87Default]);
  }
  assert.equal(fx_float_divide(mxcsrDefault, 1, 0), Infinity);
  assert.equal(1 / Number(symbols.fx_echo_f64(0)), Infinity);
});

/** A loop that both runtimes compile, with all that callee-saved registers can hold. */
function hotLoop(seed: number): number[] {
  let [a, b, c, d, e, f, g] = [seed, 1.5, -2, 3, 0.25, 7, 1];
  for (let step = 0; step < 20_000; step++) {
    a += b * 0.5;
    b = Math.sqrt(Math.abs(c - a)) + e;
    c = (d ^ step) * 0.125;
    d = (d * 31 + step) | 0;
    e += f / (1 + step);
    f = (g % 7) + 1;
    g = step & 1 ? g + 3 : g - 1;
  }
  return [a, b, c, d, e, f, g];
}

test("dlopen() restores callee-saved registers, the x87 stack and the flags", () => {
  const expected = [1, 2, 3].map(hotLoop);
  for (let round = 0; round < 60; round++) {
    exceptionOf(() => state.fx_dirty_fault(0n));
    assert.equal(state.fx_x87_tags(), 0xffff, "the x87 stack is not empty");
    const [direction, alignmentCheck, trap] = [1n << 10n, 1n << 18n, 1n << 8n];
    assert.equal(state.fx_flags() & (direction | alignmentCheck | trap), 0n);
    assert.equal(hotLoop(round % 3 + 1)[0], expected[round % 3]![0]);
  }
  assert.deepEqual([1, 2, 3].map(hotLoop), expected);
});

test("dlopen() keeps the values that JavaScript has in registers across a fault", () => {
  const sum = (count: number): number => {
    let total = 0.5;
    let whole = 7;
    for (let step = 0; step < count; step++) {
      total += step * 0.25;
      whole = (whole * 5 + step) | 0;
      try {
        state.fx_dirty_fault(0n);
      } catch {
        whole ^= 1;
      }
      total -= whole & 3;
    }
    return total + whole;
  };
  let total = 0.5;
  let whole = 7;
  for (let step = 0; step < 5_000; step++) {
    total += step * 0.25;
    whole = ((whole * 5 + step) | 0) ^ 1;
    total -= whole & 3;
  }
  assert.equal(sum(5_000), total + whole);
});

test("X9 dlopen() leaves the alignment check off after a fault with it on", () => {
  const page = symbols.fx_map(4096, 3);
  exceptionOf(() => state.fx_alignment_fault(page + 13n));
  assert.equal(state.fx_flags() & (1n << 18n), 0n);
  // A misaligned access is allowed again.
  assert.equal(symbols.fx_read(page + 3n), 0n);
});

test("H31 dlopen() leaves the signal mask as it was before the call", () => {
  const before = symbols.fx_signal_mask();
  for (const body of [() => symbols.fx_read(0n), otherFault]) {
    for (let round = 0; round < 3; round++) {
      exceptionOf(body);
      assert.equal(symbols.fx_signal_mask(), before);
    }
  }
});

test("H31 dlopen() unblocks what the library blocked before it faulted", () => {
  const before = symbols.fx_signal_mask();
  const sigusr2 = 1n << 11n;
  assert.equal(before & sigusr2, 0n);
  for (let round = 0; round < 3; round++) {
    const { info } = exceptionOf(() => symbols.fx_block_and_read(0n));
    assert.equal(info.code, "SEGV_MAPERR");
    assert.equal(symbols.fx_signal_mask(), before);
  }
});

test("H31 dlopen() keeps the mask that was set when a symbol was last opened", () => {
  childPasses("recovery", "maskOfEarlierCall");
});

test("dlopen() recovers a fault on a stack of the library's own", () => {
  const stack = symbols.fx_map(65536, 3) + 65536n - 16n;
  for (let round = 0; round < 5; round++) {
    const { info } = exceptionOf(() => stacks.fx_read_on_stack(0x123n, stack));
    assert.deepEqual([info.address, info.stackPointer], [0x123n, stack]);
  }
  assert.equal(stacks.fx_read_on_stack(stack, stack), 0n);
});

test("dlopen() recovers a fault whatever the stack pointer has become", () => {
  // The page below belongs to it: a push there must not find other memory.
  const nowhere = symbols.fx_map(8192, 0) + 4096n;
  const pointers = [0n, 8n, 0xdeadbeefn, nowhere, 2n ** 47n - 8n, 2n ** 63n, 2n ** 64n - 1n];
  for (const pointer of pointers) {
    const read = exceptionOf(() => stacks.fx_read_on_stack(0x123n, pointer)).info;
    assert.deepEqual([read.address, read.stackPointer], [0x123n, pointer]);
    // arm64 checks that the stack pointer is aligned, where it is used.
    if (arm64) continue;
    const push = exceptionOf(() => stacks.fx_push_on_stack(pointer)).info;
    const target = BigInt.asUintN(64, pointer - 8n);
    const canonical = target < 2n ** 47n || target >= 2n ** 64n - 2n ** 47n;
    assert.deepEqual([push.stackPointer, push.address], [pointer, canonical ? target : null]);
    // A stack fault is a SIGBUS or a SIGSEGV, as the CPU delivers it.
    assert.equal(push.code === "SI_KERNEL", !canonical);
  }
  assert.equal(symbols.fx_echo_f64(0.25), 0.25);
});

test("dlopen() does not recover over JavaScript that a function's callback runs", () => {
  childDies(arm64 ? "SIGILL" : "SIGFPE", "recovery", "aboveBarrier");
});

test("dlopen() does not recover a function that overwrote its return address", () => {
  childDies("SIGSEGV", "recovery", "trashedStack");
});

test("dlopen() does not recover a fault of another thread", () => {
  childDies("SIGSEGV", "recovery", "otherThread");
});

test("dlopen() does not take a fault outside its calls for one inside", () => {
  childDies("SIGSEGV", "recovery", "afterCall");
});
