/** What else goes on in a process: each case works while guarded calls fault around it. */
import { strict as assert } from "node:assert";
import { spawn, spawnSync } from "node:child_process";
import process from "node:process";
import { setTimeout as delay } from "node:timers/promises";
import { isMainThread, parentPort, Worker, workerData } from "node:worker_threads";

import { dlopen } from "../../mod.ts";
import { type Cases, exceptionOf, fixturePath, rawCallback, runCase } from "../support.ts";
import { collectGarbage } from "./holdings.ts";
import { instantiate, WasmError } from "./wasm.ts";

const { symbols } = dlopen(fixturePath, {
  fx_read: { parameters: ["address"], result: "u64" },
  fx_divide: { parameters: ["i32", "i32"], result: "i32" },
  fx_ud2: {},
  fx_callback: { parameters: ["function", "i32"], result: "i32" },
});

/** One guarded fault, which must be caught whatever happened before. */
function fault(round: number): void {
  const address = BigInt(round % 4096);
  assert.equal(exceptionOf(() => symbols.fx_read(address)).info.address, address);
  if (round % 16 === 0) {
    assert.equal(exceptionOf(() => symbols.fx_divide(round, 0)).code, "FPE_INTDIV");
  }
  if (round % 128 === 0) assert.equal(exceptionOf(() => symbols.fx_ud2()).info.signal, "SIGILL");
}

const wasm = instantiate();
const traps: readonly (() => unknown)[] = [
  () => wasm.load(1 << 20),
  () => wasm.load(-4),
  () => wasm.trap(),
  () => wasm.divide(1, 0),
  () => wasm.divide(-(2 ** 31), -1),
];

function wasmTraps(): void {
  for (let round = 0; round < 1000; round++) {
    for (const trap of traps) {
      assert.throws(trap, WasmError);
      fault(round);
    }
    assert.equal(wasm.divide(round, 1), round);
    assert.equal(wasm.load(16), 0);
  }
}

function wasmOverflow(): void {
  for (let round = 0; round < 20; round++) {
    assert.throws(() => wasm.recurse(1), RangeError);
    fault(round);
  }
}

function recurse(depth: number): number {
  return recurse(depth + 1) + 1;
}

function recursion(): void {
  for (let round = 0; round < 50; round++) {
    assert.throws(() => recurse(0), RangeError);
    fault(round);
  }
}

/** The same above an open guarded call: the exceptions belong to the engine all the same. */
function aboveGuardedCall(): void {
  let seen = 0;
  const callback = rawCallback((round) => {
    assert.throws(traps[round % traps.length]!, WasmError);
    if (round % 100 === 0) assert.throws(() => recurse(0), RangeError);
    if (round % 500 === 0) assert.throws(() => wasm.recurse(1), RangeError);
    fault(round);
    seen++;
    return round;
  });
  for (let round = 0; round < 2000; round++) {
    assert.equal(symbols.fx_callback(callback.pointer, round), round + 1);
    fault(round);
  }
  assert.equal(seen, 2000);
}

function garbage(): void {
  const kept: unknown[] = new Array(1000);
  for (let round = 0; round < 100_000; round++) {
    kept[round % kept.length] = { text: `junk ${round}`, view: new Float64Array(round % 64) };
    if (round % 4 === 0) fault(round);
    if (round % 10_000 === 0) collectGarbage();
  }
}

/** What a Worker of this program does until it is terminated. */
const busy: Readonly<Record<string, () => void>> = {
  javascript: () => {
    for (let turns = 0;; turns++) if (turns < 0) break;
  },
  wasm: () => wasm.spin(),
  callback: () => {
    const callback = rawCallback((value) => {
      for (let turns = 0;; turns++) if (turns < 0) return value;
    });
    symbols.fx_callback(callback.pointer, 1);
  },
  wait: () => {
    const { shared } = workerData as { shared: Int32Array };
    for (let round = 0; round < 200; round++) {
      Atomics.wait(shared, 0, round);
      fault(round);
      Atomics.add(shared, 1, 1);
    }
  },
};

function startBusy(name: string, shared?: Int32Array): Promise<Worker> {
  const worker = new Worker(new URL(import.meta.url), { workerData: { busy: name, shared } });
  return new Promise((resolve, reject) => {
    worker.once("message", () => resolve(worker));
    worker.once("error", reject);
  });
}

/** `ends`: whether both runtimes can stop such a Worker at all. */
async function terminate(name: string, ends: boolean): Promise<void> {
  for (let round = 0; round < 3; round++) {
    const worker = await startBusy(name);
    const exited = new Promise((resolve) => worker.once("exit", resolve));
    await delay(30);
    fault(round);
    const terminated = worker.terminate();
    if (ends) await Promise.all([terminated, exited]);
    for (let again = 0; again < 100; again++) fault(again);
  }
}

async function atomicsWait(): Promise<void> {
  const shared = [0, 1].map(() => new Int32Array(new SharedArrayBuffer(8)));
  const workers = await Promise.all(shared.map((memory) => startBusy("wait", memory)));
  const ended = workers.map((worker) => new Promise((resolve) => worker.once("exit", resolve)));
  for (let round = 1; round <= 200; round++) {
    for (const memory of shared) {
      fault(round);
      Atomics.store(memory, 0, round);
      Atomics.notify(memory, 0);
      // The count goes up once the Worker has woken and caught its own fault.
      while (Atomics.load(memory, 1) < round) Atomics.wait(new Int32Array(memory.buffer), 1, -1, 1);
    }
  }
  await Promise.all(ended);
}

async function childProcesses(): Promise<void> {
  for (let round = 0; round < 10; round++) {
    fault(round);
    assert.equal(spawnSync("sh", ["-c", `exit ${round}`]).status, round);
    const child = spawn("sh", ["-c", `kill -${round % 2 === 0 ? "SEGV" : "KILL"} $$`]);
    const ended = new Promise((resolve) => child.on("exit", (_code, signal) => resolve(signal)));
    fault(round);
    assert.equal(await ended, round % 2 === 0 ? "SIGSEGV" : "SIGKILL");
    const echo = spawnSync("cat", [], { input: `line ${round}`, encoding: "utf8" });
    assert.equal(echo.stdout, `line ${round}`);
  }
}

async function signalHandlers(): Promise<void> {
  const signals = ["SIGUSR1", "SIGUSR2", "SIGINT", "SIGTERM", "SIGHUP", "SIGWINCH"] as const;
  for (const signal of signals) {
    let seen = 0;
    const handler = (): void => void seen++;
    process.on(signal, handler);
    for (let round = 1; round <= 20; round++) {
      process.kill(process.pid, signal);
      for (let again = 0; again < 50; again++) fault(again);
      while (seen < round) await delay(1);
    }
    process.off(signal, handler);
    assert.equal(seen, 20);
  }
}

const cases: Cases = {
  wasmTraps,
  wasmOverflow,
  recursion,
  aboveGuardedCall,
  garbage,
  terminateJavascript: () => terminate("javascript", true),
  // Bun cannot stop a loop in WebAssembly: the promise stays open, without Faultline as well.
  terminateWasm: () => terminate("wasm", false),
  terminateCallback: () => terminate("callback", true),
  atomicsWait,
  childProcesses,
  signalHandlers,
};

const work = isMainThread ? undefined : (workerData as { busy?: string }).busy;
if (work === undefined) {
  await runCase(import.meta.url, cases);
  // Deno lets a busy Worker that was terminated run on.
  if (isMainThread) process.exit(0);
} else {
  fault(0);
  parentPort!.postMessage("started");
  busy[work]!();
}
