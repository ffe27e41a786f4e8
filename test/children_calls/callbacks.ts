/** Callbacks that take a process of their own: many of them, Workers, and deaths. */
import { strict as assert } from "node:assert";
import { cpSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { fileURLToPath, pathToFileURL } from "node:url";
import { isMainThread, parentPort, Worker, workerData } from "node:worker_threads";
import * as ours from "../../mod.ts";
import { type Callback, callback, dlopen } from "../../mod.ts";
import {
  aboutToDieHere,
  callsPath,
  collectGarbage,
  openCalls,
  takeAllThunks,
  wait,
} from "../calls_support.ts";
import { exceptionOf, rawCallback, rawSymbols, runCase } from "../support.ts";

const unary = { parameters: ["i32"], result: "i32" } as const;
const { symbols } = openCalls();

/** Callbacks until no more can be made; the error of the one too many. */
function fillBarriers(): { made: Callback[]; error: unknown } {
  const made: Callback[] = [];
  try {
    for (;;) made.push(callback(unary, (value) => value + made.length));
  } catch (error) {
    return { made, error };
  }
}

function tooMany(): void {
  const { made, error } = fillBarriers();
  assert.ok(made.length >= 1000 && made.length <= 1024, String(made.length));
  assert.ok(error instanceof Error);
  assert.match(error.message, /^Cannot make a callback as every barrier is taken: close some/);
  assert.equal(symbols.cx_back_i32(made.at(-1)!, 1), made.length + 1);
  assert.equal(new Set(made.map(({ address }) => address)).size, made.length);
  made.pop()!.close();
  using another = callback(unary, () => 5);
  assert.equal(symbols.cx_back_i32(another, 1), 5);
  for (const one of made) one.close();
  for (let round = 0; round < 2000; round++) {
    using again = callback(unary, (value) => value);
    if (round % 200 === 0) assert.equal(symbols.cx_back_i32(again, round), round);
  }
}

function oldestFirst(): void {
  const { made } = fillBarriers();
  const closed = [made[5]!, made[9]!, made[2]!];
  for (const one of closed) one.close();
  const reopened = closed.map(() => callback(unary, () => 0).address);
  assert.deepEqual(reopened, closed.map(({ address }) => address));
}

function scopedPermission(): void {
  assert.throws(() => callback(unary, () => 0), /Cannot make a callback .*--allow-ffi, without/);
  assert.equal(symbols.echo(3), 3);
  assert.equal(exceptionOf(() => symbols.cx_load(3n)).info.address, 3n);
}

async function notCollected(): Promise<void> {
  let calls = 0;
  const made = callback(unary, (value) => {
    calls++;
    collectGarbage();
    return value;
  });
  symbols.cx_keep(made.address);
  for (let round = 0; round < 10; round++) {
    collectGarbage();
    await wait(2);
    assert.equal(symbols.cx_call_kept(round), round);
    assert.equal(symbols.cx_back_i32(made, round), round);
  }
  assert.equal(calls, 20);
}

function buffersKept(): void {
  const withThunk = openKeeping(["SIGSEGV"]);
  takeAllThunks();
  for (const call of [withThunk, openKeeping(["SIGSEGV", "SIGBUS"])]) {
    for (const length of [8, 1000, 100_000]) {
      using made = callback({}, () => {
        for (let round = 0; round < 3; round++) {
          collectGarbage();
          new Uint8Array(length).fill(99);
        }
      });
      const make = (): Uint8Array => new Uint8Array(length).fill(3);
      assert.equal(call(make(), BigInt(length), made), BigInt(3 * length));
    }
  }
}

function openKeeping(
  signals: readonly ("SIGSEGV" | "SIGBUS")[],
): (bytes: Uint8Array, length: bigint, made: Callback) => bigint {
  return dlopen(callsPath, {
    cx_back_keeping: { parameters: ["buffer", "usize", "function"], result: "u64", signals },
  }).symbols.cx_back_keeping;
}

async function inWorker(): Promise<void> {
  for (let round = 0; round < 3; round++) {
    const worker = new Worker(new URL(import.meta.url), { workerData: { name: "workerCalls" } });
    const message = await new Promise((resolve, reject) => {
      worker.on("message", resolve);
      worker.on("error", reject);
    });
    assert.equal(message, "passed");
    await worker.terminate();
    using made = callback(unary, (value) => value);
    assert.equal(symbols.cx_back_i32(made, 4), 4);
  }
}

function workerCalls(): void {
  for (let round = 0; round < 200; round++) {
    using made = callback(unary, (value) => {
      assert.equal(exceptionOf(() => symbols.cx_load(8n)).info.address, 8n);
      return value;
    });
    assert.equal(symbols.cx_back_i32(made, round), round);
    using bad = callback(unary, () => {
      throw "bad";
    });
    assert.throws(() => symbols.cx_back_i32(bad, 1), (error) => (error as unknown) === "bad");
  }
}

async function otherWorker(): Promise<void> {
  let calls = 0;
  using made = callback(unary, (value) => ++calls + value);
  const worker = new Worker(new URL(import.meta.url), {
    workerData: { name: "callByAddress", address: made.address },
  });
  const message = await new Promise((resolve, reject) => {
    worker.on("message", resolve);
    worker.on("error", reject);
  });
  assert.match(message as string, /TypeError: .* reached from another thread/);
  assert.equal(calls, 0);
  assert.equal(symbols.cx_back_i32(made, 1), calls + 1);
  await worker.terminate();
}

function callByAddress(): void {
  using library = dlopen(callsPath, {
    cx_back_i32: { parameters: ["address", "i32"], result: "i32" },
  });
  const { address } = workerData as { address: bigint };
  try {
    parentPort!.postMessage(library.symbols.cx_back_i32(address, 5));
  } catch (error) {
    parentPort!.postMessage(String(error));
  }
}

async function terminated(): Promise<void> {
  for (let round = 0; round < 3; round++) {
    const worker = new Worker(new URL(import.meta.url), { workerData: { name: "neverReturns" } });
    await new Promise((resolve) => worker.once("message", resolve));
    await worker.terminate();
    assert.equal(exceptionOf(() => symbols.cx_load(8n)).info.address, 8n);
    using made = callback(unary, (value) => value);
    assert.equal(symbols.cx_back_i32(made, 4), 4);
  }
}

function neverReturns(): void {
  const made = callback(unary, (value) => {
    if (value < 3) return value;
    parentPort!.postMessage("looping");
    for (;;);
  });
  symbols.cx_back_each(made, new Int32Array(100), 100);
}

/** A hot loop whose optimised code the callback invalidates. */
function hotLoop(call: (made: Callback, value: number) => number): void {
  const prototype: Record<string, number> = { weight: 1 };
  const object = Object.create(prototype) as Record<string, number>;
  let calls = 0;
  using made = callback(unary, (value) => {
    calls++;
    if (calls % 60_000 === 0) {
      delete prototype.weight;
      prototype[`more${calls}`] = 1;
      prototype.weight = 1;
    }
    return value;
  });
  const loop = (): number => {
    let sum = 0;
    for (let round = 0; round < 200_000; round++) sum += call(made, 1) * object.weight!;
    return sum;
  };
  assert.equal(loop(), 200_000);
  assert.equal(calls, 200_000);
}

function deoptimised(): void {
  hotLoop(symbols.cx_back_i32);
}

/** A function that goes through a call block. */
function withoutThunks(): (made: Callback, value: number) => number {
  takeAllThunks();
  const before = ours.status().openSymbols;
  const { f } = dlopen(callsPath, {
    f: {
      name: "cx_back_i32",
      parameters: ["function", "i32"],
      result: "i32",
      signals: ["SIGSEGV"],
    },
  }).symbols;
  assert.equal(ours.status().openSymbols, before);
  return f;
}

function deoptimisedWithoutThunk(): void {
  hotLoop(withoutThunks());
}

function withoutThunk(): void {
  const call = withoutThunks();
  using made = callback(unary, (value) => {
    assert.equal(symbols.echo(value + 1), value + 1);
    assert.equal(exceptionOf(() => symbols.cx_load(8n)).info.address, 8n);
    assert.equal(exceptionOf(() => symbols.cx_load(9n)).info.address, 9n);
    using inner = callback(unary, (value) => {
      assert.equal(exceptionOf(() => symbols.cx_load(10n)).info.address, 10n);
      return value * 2;
    });
    assert.equal(call(inner, 5), 10);
    return value;
  });
  for (let round = 0; round < 100; round++) assert.equal(call(made, round), round);
  using bad = callback(unary, () => {
    throw "bad";
  });
  assert.throws(() => call(bad, 1), (error) => (error as unknown) === "bad");
  using foreign = callback(unary, () => 1);
  const { onThread } = dlopen(callsPath, {
    onThread: {
      name: "cx_back_on_thread",
      parameters: ["function", "i32"],
      result: "i32",
      signals: ["SIGSEGV"],
    },
  }).symbols;
  assert.throws(() => onThread(foreign, 1), /another thread/);
  assert.equal(symbols.echo(4), 4);
  assert.equal(call(foreign, 4), 1);
}

/** Thrown where no guarded call can surface it: the callbacks go on working. */
function throwsUnguarded(): void {
  let bad = true;
  using made = callback(unary, (value) => {
    if (bad) throw new Error("unguarded");
    return value;
  });
  const raw = rawSymbols(callsPath, {
    cx_back_i32: { parameters: ["u64", "i32"], result: "i32" },
  });
  assert.equal(raw.cx_back_i32!(made.address, 5), 0);
  bad = false;
  try {
    symbols.echo(1);
  } catch (error) {
    assert.equal((error as Error).message, "unguarded");
  }
  assert.equal(symbols.echo(1), 1);
  assert.equal(symbols.cx_back_i32(made, 6), 6);
  assert.equal(raw.cx_back_i32!(made.address, 7), 7);
}

/** Another copy of the package, which is on disk only until it is loaded. */
async function copy(): Promise<typeof ours> {
  const folder = mkdtempSync(join(tmpdir(), "faultline-"));
  process.on("exit", () => rmSync(folder, { recursive: true, force: true }));
  for (const name of ["mod.ts", "lib"]) {
    const from = fileURLToPath(new URL(`../../${name}`, import.meta.url));
    cpSync(from, join(folder, name), { recursive: true });
  }
  return await import(pathToFileURL(join(folder, "mod.ts")).href) as typeof ours;
}

async function checkCopies(parameter: "function" | "pointer"): Promise<void> {
  const theirs = await copy();
  const definitions = { cx_back_i32: { parameters: [parameter, "i32"], result: "i32" } } as const;
  const { cx_back_i32 } = theirs.dlopen(callsPath, definitions).symbols;
  // Their handler comes on top of ours, so that it sees each fault first.
  exceptionOf(() => symbols.cx_load(8n));
  theirs.install();
  using faulting = callback(unary, (value) => {
    assert.equal(exceptionOf(() => symbols.cx_load(8n)).info.address, 8n);
    return value;
  });
  assert.equal(cx_back_i32(faulting, 5), 5);
  using bad = callback(unary, () => {
    throw "bad";
  });
  assert.throws(() => cx_back_i32(bad, 1), (error) => (error as unknown) === "bad");
  assert.equal(cx_back_i32(faulting, 6), 6);
  assert.equal(symbols.cx_back_i32(faulting, 7), 7);
}

function twoCopies(): Promise<void> {
  return checkCopies("function");
}

function twoCopiesByPointer(): Promise<void> {
  return checkCopies("pointer");
}

/** The runtime's own FFI reads address 8 inside the callback: nothing of it is guarded. */
function rawFault(): void {
  const raw = rawSymbols(callsPath, { cx_load: { parameters: ["u64"], result: "u64" } });
  const made = rawCallback((value) => Number(raw.cx_load!(8n)) + value);
  exceptionOf(() => symbols.cx_load(8n));
  aboutToDieHere();
  symbols.cx_back_i32(made.pointer, 1);
}

interface Readers {
  readonly Deno?: {
    UnsafePointer: { create(address: bigint): object };
    UnsafePointerView: new (pointer: object) => { getUint32(): number };
  };
  readonly process: { getBuiltinModule(name: string): { read: { u32(address: number): number } } };
}

/** The runtime itself reads address 8. */
function runtimeFault(): void {
  const { Deno, process } = globalThis as unknown as Readers;
  const made = rawCallback((value) => {
    if (Deno !== undefined) {
      return new Deno.UnsafePointerView(Deno.UnsafePointer.create(8n)).getUint32() + value;
    }
    return process.getBuiltinModule("bun:ffi").read.u32(8) + value;
  });
  exceptionOf(() => symbols.cx_load(8n));
  aboutToDieHere();
  symbols.cx_back_i32(made.pointer, 1);
}

const cases = {
  tooMany,
  oldestFirst,
  scopedPermission,
  notCollected,
  buffersKept,
  inWorker,
  workerCalls,
  otherWorker,
  terminated,
  neverReturns,
  deoptimised,
  deoptimisedWithoutThunk,
  withoutThunk,
  throwsUnguarded,
  twoCopies,
  twoCopiesByPointer,
  rawFault,
  runtimeFault,
};

if (!isMainThread && (workerData as { name: string }).name === "callByAddress") callByAddress();
else await runCase(import.meta.url, cases);
