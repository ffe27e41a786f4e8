/** Overflows of the stack, on the main thread and in Workers. */
import { strict as assert } from "node:assert";
import { readFileSync } from "node:fs";
import { isMainThread } from "node:worker_threads";
import { status } from "../../mod.ts";
import { emulated } from "../platform_support.ts";
import { aboutToDie, exceptionOf, fixturePath, openFixture } from "../support.ts";
import { rawSymbols, runCase, runWorker } from "../support.ts";

const lib = openFixture();
const { symbols } = lib;

/** Overflows once and checks all that is known about it. */
function overflow(): void {
  const { info, message } = exceptionOf(() => symbols.fx_overflow(0));
  assert.equal(info.type, "stack-overflow");
  assert.equal(info.zxType, 0x108);
  assert.equal(info.signal, "SIGSEGV");
  // The kernel finds nothing below the main thread's stack, and a guard below a Worker's and an
  // emulator's.
  assert.equal(info.code, isMainThread && !emulated ? "SEGV_MAPERR" : "SEGV_ACCERR");
  assert.ok(info.address !== null && info.address <= info.stackPointer + 4096n);
  assert.match(message, /fx_overflow\(\) of .* overflowed its stack \(SIGSEGV, /);
}

function again(): void {
  for (let round = 0; round < 103; round++) {
    overflow();
    assert.equal(symbols.fx_echo_i32(round), round);
    if (round < 3) assert.equal(exceptionOf(() => symbols.fx_read(0n)).info.address, 0n);
  }
  assert.equal(lib.exceptionCount, 106);
}

function first(): void {
  overflow();
}

async function threeThreads(): Promise<void> {
  const url = new URL(import.meta.url);
  const workers = [runWorker(url, "again"), runWorker(url, "again")];
  again();
  await Promise.all(workers);
  overflow();
}

function deep(): void {
  const recurse = (depth: number): void => {
    if (depth === 0) overflow();
    else recurse(depth - 1);
    symbols.fx_echo_i32(depth);
  };
  for (let round = 0; round < 5; round++) recurse(1000);
}

function alternateStack(): void {
  symbols.fx_echo_i32(1);
  const stack = status().alternateStack;
  assert.ok(stack !== null && stack.byteLength >= 64 * 1024, String(stack?.byteLength));
  const mappings = readFileSync("/proc/self/maps", "utf8").split("\n").flatMap((line) => {
    const match = /^([0-9a-f]+)-([0-9a-f]+) (\S+)/.exec(line);
    if (match === null) return [];
    return [{ start: BigInt(`0x${match[1]}`), end: BigInt(`0x${match[2]}`), access: match[3]! }];
  });
  const at = (address: bigint): string =>
    mappings.find(({ start, end }) => start <= address && address < end)?.access ?? "---p";
  assert.equal(at(stack.base), "rw-p");
  assert.equal(at(stack.base + BigInt(stack.byteLength) - 1n), "rw-p");
  // Ours has a guard below it; one that the runtime made and that is large enough was kept.
  if (stack.byteLength === 64 * 1024) assert.equal(at(stack.base - 1n), "---p");
}

function strayRead(): void {
  const { address } = exceptionOf(() => symbols.fx_overflow(0)).info;
  assert.ok(address !== null);
  for (const near of [address, address - 8n]) {
    const { info } = exceptionOf(() => symbols.fx_read(near));
    assert.deepEqual([info.type, info.address], ["access-violation", near]);
  }
}

function unguarded(): void {
  const { fx_overflow } = rawSymbols(fixturePath, {
    fx_overflow: { parameters: ["u64"], result: "u64" },
  });
  overflow();
  aboutToDie();
  fx_overflow!(0n);
}

await runCase(import.meta.url, {
  again,
  first,
  threeThreads,
  deep,
  alternateStack,
  strayRead,
  unguarded,
});
