/** Faults of the runtime and of its engine, with a guarded call open below them. */
import { strict as assert } from "node:assert";
import { isMainThread, Worker } from "node:worker_threads";
import { callable, callback, dlopen } from "../../mod.ts";
import { aboutToDieHere, callsPath, openCalls, wasmLoad, WasmTrap } from "../calls_support.ts";
import { exceptionOf, openFixture, rawCallback, runCase, runtimeName } from "../support.ts";

const { symbols } = openCalls();
/** The callback is passed as a plain pointer: no barrier stands in front of it. */
const { pass } = dlopen(callsPath, {
  pass: { name: "cx_back_i32", parameters: ["pointer", "i32"], result: "i32" },
}).symbols;

interface Host {
  readonly Deno?: {
    UnsafePointer: { create(address: bigint): object };
    UnsafePointerView: new (pointer: object) => { getUint32(): number };
  };
  readonly process: { getBuiltinModule(name: string): { read: { u32(address: number): number } } };
}

function readAt(address: number): number {
  const { Deno, process } = globalThis as unknown as Host;
  if (Deno === undefined) return process.getBuiltinModule("bun:ffi").read.u32(address);
  return new Deno.UnsafePointerView(Deno.UnsafePointer.create(BigInt(address))).getUint32();
}

const page = openFixture().symbols.fx_map(4096n, 3);

/** The read is compiled by the engine first, where the engine does that. */
function engineFault(): void {
  let sum = 0;
  for (let round = 0; round < 100_000; round++) sum += readAt(Number(page));
  assert.equal(sum, 0);
  const made = rawCallback((value) => readAt(8) + value);
  exceptionOf(() => symbols.cx_load(8n));
  aboutToDieHere();
  pass(made.pointer as never, 1);
}

function runtimeFault(): void {
  const made = rawCallback((value) => readAt(8) + value);
  exceptionOf(() => symbols.cx_load(8n));
  aboutToDieHere();
  pass(made.pointer as never, 1);
}

async function engineFaultInWorker(): Promise<void> {
  if (!isMainThread) return engineFault();
  exceptionOf(() => symbols.cx_load(8n));
  const worker = new Worker(new URL(import.meta.url), {
    workerData: { name: "engineFaultInWorker" },
  });
  await new Promise((resolve) => worker.on("exit", resolve));
}

function trapsBeside(): void {
  const load = wasmLoad();
  const wild = callable(0x1234n, {});
  using made = callback({ parameters: ["i32"], result: "i32" }, (value) => {
    assert.throws(() => load(0x7fff_0000), WasmTrap);
    assert.equal(exceptionOf(wild).info.instructionPointer, 0x1234n);
    return value;
  });
  // Passed as a plain pointer too: the trap is the engine's own.
  const raw = rawCallback((value) => {
    assert.throws(() => load(0x7fff_0000), WasmTrap);
    return value;
  });
  for (let round = 0; round < 200; round++) {
    assert.equal(symbols.cx_back_i32(made, round), round);
    assert.equal(pass(raw.pointer as never, round), round);
    assert.throws(() => load(0x7fff_0000), WasmTrap);
  }
  assert.ok(["bun", "deno"].includes(runtimeName()));
}

await runCase(import.meta.url, { engineFault, runtimeFault, engineFaultInWorker, trapsBeside });
