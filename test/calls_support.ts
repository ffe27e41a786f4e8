/**
 * What the tests of callbacks, nonblocking calls, callables and slots share.
 *
 * @module
 */
import { strict as assert } from "node:assert";
import { writeSync } from "node:fs";
import { callable, dlopen, type ForeignLibrary, type NativeType } from "../mod.ts";
import { childDies, type ChildResult, fixtureFile, runChild } from "./support.ts";

/** The library that `calls_fixture.zig` makes. */
export const callsPath: string = fixtureFile("calls_fixture.so");

/** Definitions of what most tests need of it. */
export const callsSymbols = {
  cx_back_i32: { parameters: ["function", "i32"], result: "i32" },
  cx_back_sum: { parameters: ["function", "i32"], result: "i32" },
  cx_back_each: { parameters: ["function", "buffer", "u32"] },
  cx_back_void: { parameters: ["function"] },
  cx_back_and_read: { parameters: ["function", "i32", "address"], result: "u64" },
  cx_back_on_thread: { parameters: ["function", "i32"], result: "i32" },
  cx_keep: { parameters: ["address"] },
  cx_call_kept: { parameters: ["i32"], result: "i32" },
  cx_load: { parameters: ["address"], result: "u64" },
  cx_overflow: { parameters: ["u64"], result: "u64" },
  cx_sleep: { parameters: ["u32", "i64"], result: "i64" },
  echo: { name: "cx_native_invalid", parameters: ["i32"], result: "i32" },
} as const;

/** Opens the fixture with recovery points. */
export function openCalls(): ForeignLibrary<typeof callsSymbols> {
  return dlopen(callsPath, callsSymbols);
}

/** Flags of Deno that make its garbage collector callable. */
export const gcFlags: readonly string[] = ["--allow-all", "--v8-flags=--expose-gc"];

interface Collectors {
  readonly Bun?: { gc(synchronous: boolean): void };
  readonly gc?: () => void;
}

/** Collects garbage; in Deno only in children that `gcFlags` were given to. */
export function collectGarbage(): void {
  const { Bun, gc } = globalThis as unknown as Collectors;
  if (Bun !== undefined) Bun.gc(true);
  else gc?.();
}

/** Waits in the event loop. */
export function wait(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}

/** Collects garbage until `done` holds, which it must within two seconds. */
export async function collectUntil(done: () => boolean): Promise<void> {
  for (let round = 0; round < 100 && !done(); round++) {
    collectGarbage();
    await wait(20);
  }
  assert.ok(done(), "what should have been collected is still there");
}

const taken: unknown[] = [];

/** Makes functions, none of which is called, until no thunk is left for another. */
export function takeAllThunks(): void {
  for (let index = 0n; index < 1024n; index++) taken.push(callable(0x10_0000n + index, {}));
  const parameters: NativeType[] = Array.from({ length: 8 }, () => "u64");
  for (let index = 0n; index < 256n; index++) {
    taken.push(callable(0x20_0000n + index, { parameters }));
  }
}

/** Runs one case of a program of `children_calls/`, which must pass. */
export function callsPass(name: string, test: string, ...args: readonly string[]): void {
  const result = runCalls(name, test, ...args);
  assert.deepEqual(
    { status: result.status, signal: result.signal, stdout: result.stdout },
    { status: 0, signal: null, stdout: "passed\n" },
    `${name} ${test}: ${JSON.stringify(result)}`,
  );
}

/** Runs one case of a program of `children_calls/` to its end. */
export function runCalls(name: string, ...args: readonly string[]): ChildResult {
  return runChild(`../children_calls/${name}`, args, gcFlags);
}

/** Runs one case of a program of `children_calls/`, which must die by `signal`. */
export function callsDie(signal: string, name: string, ...args: readonly string[]): ChildResult {
  return childDies(signal, `../children_calls/${name}`, ...args);
}

interface WasmHost {
  readonly WebAssembly: {
    readonly Module: new (bytes: Uint8Array) => object;
    readonly Instance: new (module: object) => { exports: { f(address: number): number } };
    readonly RuntimeError: new () => Error;
  };
}

/** What WebAssembly throws when it traps. */
export const WasmTrap: new () => Error =
  (globalThis as unknown as WasmHost).WebAssembly.RuntimeError;

/** A function of WebAssembly that loads from its one page of memory, and traps beyond it. */
export function wasmLoad(): (address: number) => number {
  // (module (memory 1) (func (export "f") (param i32) (result i32) local.get 0 i32.load))
  const bytes = Uint8Array.of(
    ...[0, 97, 115, 109, 1, 0, 0, 0, 1, 6, 1, 96, 1, 127, 1, 127, 3, 2, 1, 0, 5, 3, 1, 0, 1],
    ...[7, 5, 1, 1, 102, 0, 0, 10, 9, 1, 7, 0, 32, 0, 40, 2, 0, 11],
  );
  const { WebAssembly } = globalThis as unknown as WasmHost;
  return new WebAssembly.Instance(new WebAssembly.Module(bytes)).exports.f;
}

/** As `aboutToDie`, in a Worker as well: Bun's console there goes through the main thread. */
export function aboutToDieHere(): void {
  writeSync(1, "about to die\n");
}
