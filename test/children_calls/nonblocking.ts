/** Calls on other threads, and the end of a program or a Worker around them. */
import { strict as assert } from "node:assert";
import process from "node:process";
import { Worker } from "node:worker_threads";
import { dlopen, HardwareException } from "../../mod.ts";
import { aboutToDieHere, callsPath, collectGarbage, wait } from "../calls_support.ts";
import { runCase } from "../support.ts";

const nonblocking = true;
const { symbols } = dlopen(callsPath, {
  cx_sleep: { parameters: ["u32", "i64"], result: "i64", nonblocking },
  cx_sleep_and_fill: { parameters: ["u32", "buffer", "usize", "u8"], nonblocking },
  fillAt: {
    name: "cx_sleep_and_fill",
    parameters: ["u32", "address", "usize", "u8"],
    nonblocking,
  },
  cx_load: { parameters: ["address"], result: "u64", nonblocking },
});

async function endsAlone(): Promise<void> {
  assert.equal(await symbols.cx_sleep(10, 1), 1n);
  await assert.rejects(symbols.cx_load(1n), HardwareException);
}

function staysAlive(): void {
  void symbols.cx_sleep(300, 5).then((value) => console.log(`result ${value}`));
}

function exitsEarly(): void {
  for (let index = 0; index < 40; index++) void symbols.cx_sleep(400 + index, 5);
  setTimeout(() => {
    console.log("leaving");
    process.exit(3);
  }, 50);
}

async function manyThenExit(): Promise<void> {
  const all = Array.from({ length: 3000 }, (_, index) => symbols.cx_sleep(index % 3, index));
  const values = await Promise.all(all);
  assert.ok(values.every((value, index) => value === BigInt(index)));
}

async function buffersKept(): Promise<void> {
  const check = async (length: number, value: number): Promise<void> => {
    const running: Promise<unknown>[] = [];
    const views = Array.from({ length: 20 }, () => {
      const bytes = new Uint8Array(length);
      running.push(symbols.cx_sleep_and_fill(60, bytes, BigInt(length), value));
      return new WeakRef(bytes);
    });
    for (let round = 0; round < 10; round++) {
      collectGarbage();
      Array.from({ length: 50 }, () => new Uint8Array(length).fill(1));
      await wait(5);
    }
    await Promise.all(running);
    for (const view of views) {
      const bytes = view.deref();
      if (bytes !== undefined) assert.ok(bytes.every((byte) => byte === value));
    }
  };
  for (const length of [8, 500, 5000, 200_000]) await check(length, 77);
}

async function oneWorker(name: string): Promise<void> {
  const worker = new Worker(new URL(import.meta.url), { workerData: { name } });
  const message = await new Promise((resolve, reject) => {
    worker.on("message", resolve);
    worker.on("error", reject);
  });
  assert.equal(message, "passed");
  await worker.terminate();
}

async function inWorkers(): Promise<void> {
  await Promise.all(Array.from({ length: 3 }, () => oneWorker("workerCalls")));
  assert.equal(await symbols.cx_sleep(1, 6), 6n);
}

async function workerCalls(): Promise<void> {
  for (let round = 0; round < 50; round++) {
    const [value] = await Promise.all([
      symbols.cx_sleep(1, round),
      assert.rejects(symbols.cx_load(4n), HardwareException),
    ]);
    assert.equal(value, BigInt(round));
  }
}

/** A Worker ends while its calls run; what they write must go nowhere else. */
async function checkWorkerEnds(name: string): Promise<void> {
  for (let round = 0; round < 3; round++) {
    await oneWorker(name);
    const blocks = Array.from({ length: 400 }, () => new Uint8Array(20_000));
    for (let tick = 0; tick < 10; tick++) {
      collectGarbage();
      await wait(20);
      Array.from({ length: 100 }, () => new Uint8Array(224));
    }
    assert.ok(blocks.every((block) => block.every((byte) => byte === 0)));
    assert.equal(await symbols.cx_sleep(1, 6), 6n);
    await assert.rejects(symbols.cx_load(4n), HardwareException);
  }
}

function workerEnds(): Promise<void> {
  return checkWorkerEnds("leavesCalls");
}

function workerEndsFaulting(): Promise<void> {
  return checkWorkerEnds("leavesFaults");
}

function leavesCalls(): void {
  for (let index = 0; index < 24; index++) void symbols.cx_sleep(100 + index, -1n);
}

function leavesFaults(): void {
  for (let index = 0; index < 24; index++) {
    symbols.fillAt(100 + index, 8n, 10n, 1).catch(() => {});
  }
}

/** Workers end at any moment while calls of theirs start, finish and fault. */
async function workerEndsBusy(): Promise<void> {
  for (let round = 0; round < 6; round++) {
    const worker = new Worker(new URL(import.meta.url), { workerData: { name: "staysBusy" } });
    await new Promise((resolve, reject) => {
      worker.once("message", resolve);
      worker.once("error", reject);
    });
    await wait(round * 3);
    await worker.terminate();
  }
  await wait(30);
  assert.equal(await symbols.cx_sleep(1, 6), 6n);
}

async function staysBusy(): Promise<void> {
  const loop = async (): Promise<void> => {
    for (;;) {
      await symbols.cx_sleep(1, 1);
      await symbols.cx_load(8n).catch(() => {});
    }
  };
  for (let index = 0; index < 16; index++) void loop();
  await wait(20);
}

async function propagate(): Promise<void> {
  const library = dlopen(callsPath, {
    cx_load: { parameters: ["address"], nonblocking, exceptions: "propagate" },
  });
  aboutToDieHere();
  await library.symbols.cx_load(8n);
  assert.fail("it went on");
}

await runCase(import.meta.url, {
  endsAlone,
  staysAlive,
  exitsEarly,
  manyThenExit,
  buffersKept,
  inWorkers,
  workerCalls,
  workerEnds,
  workerEndsFaulting,
  leavesCalls,
  leavesFaults,
  workerEndsBusy,
  staysBusy,
  propagate,
});
