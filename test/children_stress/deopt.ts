/**
 * A callback that invalidates the optimised function which called native code (denoland/deno
 * issue 31122). The first argument says through whose `dlopen` the function is called.
 */
import { strict as assert } from "node:assert";
import process from "node:process";

import { dlopen } from "../../mod.ts";
import { fixturePath, rawCallback, type RawFunction, rawSymbols } from "../support.ts";

/** `faultline`, `plain`, or `void`: plain without a result. */
const way = process.argv[2];
/** Breaks what the optimised caller relies on: that a field keeps its first value. */
let invalidate: (() => void) | null = null;
let calls = 0;

const callback = rawCallback((value) => {
  calls++;
  invalidate?.();
  return value;
});

function open(): RawFunction {
  if (way === "faultline") {
    const library = dlopen(fixturePath, {
      fx_callback: { parameters: ["function", "i32"], result: "i32" },
    });
    return library.symbols.fx_callback as RawFunction;
  }
  const { fx_callback } = rawSymbols(fixturePath, {
    fx_callback: { parameters: ["pointer", "i32"], result: way === "void" ? "void" : "i32" },
  });
  return fx_callback!;
}

const call = open();

interface Caller {
  run(): number;
  invalidate(): void;
}

/** A caller and a field of their own for each round: engines learn from the round before. */
function makeCaller(round: number): Caller {
  const field = `state.factor${round}`;
  const text = `const state = { factor${round}: 1 };
    return {
      run: function () {
        const before = ${field};
        const result = call(pointer, ${round});
        return (result === undefined ? ${round} + 1 : result) * ${field} * before;
      },
      invalidate: function () { ${field}++; },
    };`;
  return new Function("call", "pointer", text)(call, callback.pointer);
}

const rounds = 10;
const warmth = 100_000;
for (let round = 0; round < rounds; round++) {
  const caller = makeCaller(round);
  invalidate = null;
  for (let step = 0; step < warmth; step++) assert.equal(caller.run(), round + 1);
  invalidate = caller.invalidate;
  assert.equal(caller.run(), (round + 1) * 2);
}
assert.equal(calls, rounds * (warmth + 1));
console.log("passed");
