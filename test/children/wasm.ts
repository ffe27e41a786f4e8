/** WebAssembly, whose traps arrive as SIGSEGV in Bun, beside and inside guarded calls. */
import { strict as assert } from "node:assert";
import { dlopen, install } from "../../mod.ts";
import { exceptionOf, fixturePath, openFixture, rawCallback, runCase } from "../support.ts";

interface Host {
  readonly WebAssembly: {
    Module: new (bytes: Uint8Array) => object;
    Instance: new (module: object) => { exports: { f: (address: number) => number } };
    RuntimeError: new () => Error;
  };
}
const { WebAssembly } = globalThis as unknown as Host;
const { symbols } = openFixture();

// (module (memory 1) (func (export "f") (param i32) (result i32) (i32.load (local.get 0))))
const bytes = Uint8Array.from([
  ...[0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00],
  ...[0x01, 0x06, 0x01, 0x60, 0x01, 0x7f, 0x01, 0x7f],
  ...[0x03, 0x02, 0x01, 0x00, 0x05, 0x03, 0x01, 0x00, 0x01],
  ...[0x07, 0x05, 0x01, 0x01, 0x66, 0x00, 0x00],
  ...[0x0a, 0x09, 0x01, 0x07, 0x00, 0x20, 0x00, 0x28, 0x02, 0x00, 0x0b],
]);
const { f } = new WebAssembly.Instance(new WebAssembly.Module(bytes)).exports;

/** An access that traps, and one that does not. */
function trap(): void {
  assert.throws(() => f(1 << 20), WebAssembly.RuntimeError);
  assert.equal(f(8), 0);
}

function beside(): void {
  trap();
  install();
  for (let round = 0; round < 300; round++) {
    // Often enough that the code is compiled by every tier.
    for (let step = 0; step < 1_000; step++) assert.equal(f(step), 0);
    trap();
    assert.equal(exceptionOf(() => symbols.fx_read(BigInt(round))).info.address, BigInt(round));
    trap();
  }
}

function inside(type: "pointer" | "function"): void {
  const library = dlopen(fixturePath, {
    fx_callback: { parameters: [type, "i32"], result: "i32" },
    fx_callback_and_read: { parameters: [type, "i32", "address"], result: "u64" },
  });
  const callback = rawCallback((value) => {
    trap();
    for (let step = 0; step < 100; step++) assert.equal(f(step), 0);
    return value;
  });
  for (let round = 0; round < 300; round++) {
    assert.equal(library.symbols.fx_callback(callback.pointer, round), round + 1);
    const call = (): unknown => library.symbols.fx_callback_and_read(callback.pointer, 1, 0x66n);
    assert.equal(exceptionOf(call).info.address, 0x66n);
  }
  assert.equal(library.exceptionCount, 300);
}

await runCase(import.meta.url, {
  beside,
  insidePointer: () => inside("pointer"),
  insideFunction: () => inside("function"),
});
