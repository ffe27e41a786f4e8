/**
 * A program of memory_test.ts: one case of the memory functions in a fresh process or Worker, where
 * nothing has opened the native library or installed handlers yet. Says "passed".
 */
import { strict as assert } from "node:assert";
import process from "node:process";
import { isMainThread, parentPort, workerData } from "node:worker_threads";
import {
  addressOf,
  HardwareException,
  isReadable,
  mappingOf,
  protect,
  readMemory,
  status,
  writeMemory,
} from "../../mod.ts";

const page = 4096;

function fails(body: () => void, code: string, address: bigint | null): void {
  assert.throws(body, (error) => {
    assert.ok(error instanceof HardwareException, String(error));
    assert.deepEqual([error.code, error.info.address], [code, address]);
    return true;
  });
}

/** A page that belongs to nobody else, inside of `bytes`. */
function innerPage(bytes: Uint8Array): bigint {
  return (addressOf(bytes) + BigInt(page - 1)) & ~BigInt(page - 1);
}

function everything(): void {
  const bytes = new Uint8Array(3 * page).fill(7);
  const address = innerPage(bytes);
  const range = { address, byteLength: page };
  const copy = new Uint8Array(page);
  for (let i = 0; i < 1000; i++) {
    readMemory(address, copy);
    assert.equal(copy[i], 7);
    fails(() => readMemory(BigInt(i), copy), "SEGV_MAPERR", BigInt(i));
    assert.equal(isReadable(range), true);
    assert.equal(isReadable({ address: BigInt(i), byteLength: 1 }), false);
  }
  for (let i = 0; i < 100; i++) {
    assert.equal(protect(range, "---"), "rw-");
    assert.equal(isReadable(range), false);
    fails(() => readMemory(address, copy), "SEGV_ACCERR", address);
    fails(() => writeMemory(address, copy), "SEGV_ACCERR", address);
    assert.equal(mappingOf(address)?.protection, "---");
    assert.equal(protect(range, "rw-"), "---");
  }
  writeMemory(address, Uint8Array.of(9));
  assert.equal(bytes.indexOf(9), Number(address - addressOf(bytes)));
}

const cases: Readonly<Record<string, () => void>> = {
  everything,
  isReadable: () => {
    assert.equal(isReadable({ address: 0n, byteLength: 1 }), false);
    assert.equal(isReadable({ address: addressOf(new Uint8Array(page)), byteLength: 1 }), true);
  },
  readMemory: () => fails(() => readMemory(0n, new Uint8Array(8)), "SEGV_MAPERR", 0n),
  writeMemory: () => fails(() => writeMemory(0n, new Uint8Array(8)), "SEGV_MAPERR", 0n),
  modest: () => {
    // Asking and protecting need no handler; copies need those of two signals.
    mappingOf(0n);
    const bytes = new Uint8Array(3 * page);
    protect({ address: innerPage(bytes), byteLength: 1 }, "rw-");
    readMemory(0n, new Uint8Array(0));
    assert.equal(status().installed, false);
    readMemory(addressOf(bytes), new Uint8Array(8));
    const { signals } = status();
    const ours = Object.entries(signals).filter(([, { owner }]) => owner === "faultline");
    assert.deepEqual(ours.map(([name]) => name).sort(), ["SIGBUS", "SIGSEGV"]);
  },
};

/** Where `addOnes` finds its orders and leaves its count, behind the word that it adds to. */
interface Shared {
  readonly words: Int32Array;
  readonly sum: number;
  readonly stop: number;
  readonly count: number;
}

/** Adds ones to a word until it is told to stop: a write that is lost shows in the sum. */
function addOnes({ words, sum, stop, count }: Shared): void {
  let added = 0;
  while (Atomics.load(words, stop) === 0) {
    for (let i = 0; i < 100; i++) Atomics.add(words, sum, 1);
    added += 100;
  }
  words[count] = added;
}

if (isMainThread) {
  cases[process.argv[2]!]!();
  console.log("passed");
} else {
  const { name, ...rest } = workerData as { name: string };
  if (name === "addOnes") addOnes(rest as unknown as Shared);
  else cases[name]!();
  parentPort!.postMessage("passed");
}
