/**
 * What hooks cost, against the fault itself.
 *
 *     bun bench/hook_cost.ts
 *     deno run --allow-all bench/hook_cost.ts
 *
 * - kernel: the fault, delivered to a handler that skips the instruction and does nothing else.
 * - native: the same by the action "skip-instruction".
 * - JavaScript: the same by a function that adds to the instruction pointer.
 * - next: a function that answers "next", and the native action behind it.
 */
import process from "node:process";

import { addHook, dlopen } from "../mod.ts";
import {
  fixturePath,
  interleave,
  loop,
  median,
  nanoseconds,
  perRound,
  plainLibrary,
  printTable,
  runtimeName,
  time,
} from "./measure.ts";

const rounds = 101;
const faultsPerRound = 500;
const aims = { native: 1.1, javascript: 2.5 };

const skipped = process.arch === "arm64" ? 4 : 2;
const { symbols } = dlopen(fixturePath("hooks_fixture"), {
  fh_fault_often: { parameters: ["u32"] },
});
const floorDefinition = { parameters: ["u32"], result: "f64" };
const floor = plainLibrary(fixturePath(), { fx_kernel_floor: floorDefinition }).fx_kernel_floor;
const often = loop({ often: symbols.fh_fault_often }, "often(count); return count;");

/** Faults in a guarded call, with the hooks that `add` adds. */
function hooked(add: () => Disposable[]): () => number {
  return () => {
    const hooks = add();
    try {
      return time(often, faultsPerRound);
    } finally {
      for (const hook of hooks) hook[Symbol.dispose]();
    }
  };
}

const skip = () =>
  addHook({ signals: ["SIGSEGV"] }, { action: "skip-instruction", byteLength: skipped });

const samples = interleave({
  kernel: () => floor(faultsPerRound) / faultsPerRound,
  native: hooked(() => [skip()]),
  javascript: hooked(() => [addHook({ signals: ["SIGSEGV"] }, (exception) => {
    exception.registers.instructionPointer += BigInt(skipped);
    return "handled";
  })]),
  next: hooked(() => [skip(), addHook({ signals: ["SIGSEGV"] }, () => "next")]),
}, rounds);
const { kernel, native, javascript, next } = samples;

function row(title: string, values: readonly number[], aim = ""): string[] {
  const ratio = perRound((hook, bare) => hook! / bare!, [...values], kernel).toFixed(2);
  return [title, nanoseconds(Math.min(...values)), nanoseconds(median(values)), ratio, aim];
}

console.log(`A read of address 0 in a guarded call under ${runtimeName}; nanoseconds per fault`);
printTable(["what", "min", "median", "ratio", "aim"], [
  row("kernel: bare delivery", kernel),
  row("native: skip-instruction", native, aims.native.toFixed(1)),
  row("JavaScript: registers written", javascript, aims.javascript.toFixed(1)),
  row("next: JavaScript, then native", next),
]);
console.log(`${rounds} rounds of ${faultsPerRound} faults; ratios to the kernel are medians.\n`);
