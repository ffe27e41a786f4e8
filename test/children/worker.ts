/** Workers that come and go. The cases whose names begin with "in" run in them. */
import { strict as assert } from "node:assert";
import { readFileSync } from "node:fs";
import process from "node:process";
import { Worker, workerData } from "node:worker_threads";
import { dlopen, status } from "../../mod.ts";
import { allDispositions, exceptionOf, fixturePath, openFixture } from "../support.ts";
import { runCase, runWorker } from "../support.ts";

const url = new URL(import.meta.url);

/** Faults a few times, and checks on which thread. */
function inFaults(): void {
  const { symbols } = openFixture();
  for (let round = 0; round < 20; round++) {
    const { info } = exceptionOf(() => symbols.fx_read(BigInt(round)));
    assert.equal(info.address, BigInt(round));
    assert.equal(info.processId, process.pid);
    assert.notEqual(info.threadId, process.pid);
  }
}

async function threadIds(): Promise<void> {
  const { symbols } = openFixture();
  assert.equal(exceptionOf(() => symbols.fx_read(0n)).info.threadId, process.pid);
  await Promise.all([runWorker(url, "inFaults"), runWorker(url, "inFaults")]);
  assert.equal(exceptionOf(() => symbols.fx_read(0n)).info.threadId, process.pid);
}

/** Waits for what happens on another thread a little after its Worker is said to have ended. */
async function until(condition: () => boolean): Promise<void> {
  for (let wait = 0; wait < 300 && !condition(); wait++) {
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  assert.ok(condition());
}

async function slots(): Promise<void> {
  const library = openFixture();
  const { openSymbols } = status();
  for (let round = 0; round < 3; round++) {
    await runWorker(url, "inFaults");
    await until(() => status().openSymbols === openSymbols);
  }
  assert.equal(exceptionOf(() => library.symbols.fx_read(0n)).info.address, 0n);
}

async function workersAlone(): Promise<void> {
  await runWorker(url, "inFaults");
  await runWorker(url, "inFaults");
  await new Promise((resolve) => setTimeout(resolve, 50));
}

async function handlersAfterWorker(): Promise<void> {
  await runWorker(url, "inFaults");
  await new Promise((resolve) => setTimeout(resolve, 200));
  // Whatever handles the signals now must still be there.
  const maps = readFileSync("/proc/self/maps", "utf8").split("\n");
  for (const [name, [handler = 0n]] of Object.entries(allDispositions())) {
    if (handler <= 1n) continue;
    const mapped = maps.some((line) => {
      const match = /^([0-9a-f]+)-([0-9a-f]+) r-x/.exec(line);
      return match !== null && handler >= BigInt(`0x${match[1]}`) &&
        handler < BigInt(`0x${match[2]}`);
    });
    assert.ok(mapped, `the handler of ${name} at 0x${handler.toString(16)} is not mapped`);
  }
  const { symbols } = openFixture();
  assert.equal(exceptionOf(() => symbols.fx_divide(1, 0)).code, "FPE_INTDIV");
}

async function many(): Promise<void> {
  const { symbols } = openFixture();
  for (let round = 0; round < 30; round++) {
    await runWorker(url, "inFaults");
    assert.equal(exceptionOf(() => symbols.fx_read(0n)).info.address, 0n);
  }
}

/** Never returns, but says when it has begun. */
function inEndless(): void {
  const { symbols } = dlopen(fixturePath, { fx_read: { parameters: ["address"] } });
  const begun = new Int32Array((workerData as { begun: SharedArrayBuffer }).begun);
  while (true) {
    exceptionOf(() => symbols.fx_read(0n));
    Atomics.add(begun, 0, 1);
  }
}

async function terminated(): Promise<void> {
  const { symbols } = openFixture();
  for (let round = 0; round < 5; round++) {
    const begun = new SharedArrayBuffer(4);
    const worker = new Worker(url, { workerData: { name: "inEndless", begun } });
    await until(() => Atomics.load(new Int32Array(begun), 0) > 100);
    await worker.terminate();
    assert.equal(exceptionOf(() => symbols.fx_read(9n)).info.address, 9n);
  }
  await new Promise((resolve) => setTimeout(resolve, 100));
  assert.equal(exceptionOf(() => symbols.fx_read(9n)).info.address, 9n);
}

await runCase(import.meta.url, {
  inFaults,
  inEndless,
  threadIds,
  slots,
  workersAlone,
  handlersAfterWorker,
  many,
  terminated,
});
