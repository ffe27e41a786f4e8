/** Stack overflows, and the alternate stack that handling them takes. */
import { strict as assert } from "node:assert";
import { test } from "node:test";
import { dlopen } from "../mod.ts";
import { childDies, childPasses, exceptionOf, fixturePath, runtimeName } from "./support.ts";

test("H32 dlopen() recovers stack overflows on the main thread, 3 in a row, then 100 more", () => {
  childPasses("stack_overflow", "again");
});

test("H33 dlopen() recovers stack overflows on a Worker, 3 in a row, then 100 more", () => {
  childPasses("stack_overflow", "again", "worker");
});

test("H32 dlopen() recovers a stack overflow of the very first guarded call", () => {
  childPasses("stack_overflow", "first");
  childPasses("stack_overflow", "first", "worker");
});

test("H33 dlopen() recovers stack overflows on three threads at once", () => {
  childPasses("stack_overflow", "threeThreads");
});

test("dlopen() recovers a stack overflow of a call from deep JavaScript recursion", () => {
  childPasses("stack_overflow", "deep");
  childPasses("stack_overflow", "deep", "worker");
});

test("H43 status() shows an alternate stack of 64 KiB or more after the first guarded call", () => {
  childPasses("stack_overflow", "alternateStack");
  childPasses("stack_overflow", "alternateStack", "worker");
});

test("dlopen() leaves JavaScript's own stack overflow a RangeError", () => {
  const library = dlopen(fixturePath, {
    fx_overflow: { parameters: ["u64"], result: "u64" },
    fx_echo_i32: { parameters: ["i32"], result: "i32" },
  });
  const recurse = (depth: number): number => recurse(library.symbols.fx_echo_i32(depth) + 1) + 1;
  for (let round = 0; round < 3; round++) {
    assert.throws(() => recurse(0), RangeError);
    assert.equal(library.symbols.fx_echo_i32(round), round);
    assert.equal(exceptionOf(() => library.symbols.fx_overflow(0)).info.type, "stack-overflow");
  }
  assert.equal(library.exceptionCount, 3);
});

test("dlopen() calls a stray read of a stack's guard an access violation", () => {
  childPasses("stack_overflow", "strayRead");
  childPasses("stack_overflow", "strayRead", "worker");
});

test("dlopen() leaves a stack overflow outside guarded calls to the runtime", () => {
  if (runtimeName() === "bun") {
    childDies("SIGSEGV", "stack_overflow", "unguarded");
  } else {
    const { stderr } = childDies("SIGABRT", "stack_overflow", "unguarded");
    assert.match(stderr, /thread 'main' .*has overflowed its stack/);
  }
});
