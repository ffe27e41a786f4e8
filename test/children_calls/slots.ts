/** Slots when there are none left, and when threads end. */
import { strict as assert } from "node:assert";
import { Worker } from "node:worker_threads";
import {
  callable,
  type Callback,
  callback,
  dlopen,
  type ForeignLibrary,
  type NativeType,
  status,
} from "../../mod.ts";
import { callsPath, callsSymbols, collectUntil, openCalls, wait } from "../calls_support.ts";
import { exceptionOf, fixturePath, openFixture, runCase } from "../support.ts";

const { symbols } = openFixture();
type Call = (...values: unknown[]) => unknown;

function check(count: number, parameters: readonly NativeType[]): void {
  const values = parameters.map(() => 1n);
  const before = status().openSymbols;
  const made = Array.from(
    { length: count },
    (_, index) => callable(0x7000n + BigInt(index), { parameters, result: "u64" }) as Call,
  );
  assert.ok(status().openSymbols > before + 200);
  for (const [index, call] of made.entries()) {
    const { info } = exceptionOf(() => call(...values));
    assert.equal(info.instructionPointer, 0x7000n + BigInt(index));
  }
  const handle = dlopen(fixturePath, {
    fx_echo_u64: { parameters: ["u64", ...parameters.slice(1)], result: "u64" },
    fx_read: { parameters: ["address"], result: "u64", signals: ["SIGSEGV"] },
  });
  const echo = handle.symbols.fx_echo_u64 as unknown as Call;
  for (let round = 0; round < 100; round++) {
    assert.equal(echo(BigInt(round), ...values.slice(1)), BigInt(round));
    assert.equal(exceptionOf(() => handle.symbols.fx_read(5n)).info.address, 5n);
  }
  assert.equal(handle.exceptionCount, 100);
  handle.close();
  assert.throws(() => echo(1n, ...values.slice(1)), { code: "CLOSED" });
  assert.equal(made.length, count);
}

function overflow(): void {
  check(1100, ["u64"]);
}

function stackOverflow(): void {
  check(300, Array.from({ length: 11 }, () => "u64" as const));
}

async function workerEnds(): Promise<void> {
  const before = status().openSymbols;
  for (let round = 0; round < 3; round++) {
    const url = new URL(import.meta.url);
    const worker = new Worker(url, { workerData: { name: "workerOpens" } });
    await new Promise((resolve, reject) => {
      worker.once("message", resolve);
      worker.once("error", reject);
    });
    assert.ok(status().openSymbols >= before + 60, `${status().openSymbols} after ${before}`);
    await worker.terminate();
    for (let tick = 0; tick < 100 && status().openSymbols !== before; tick++) await wait(20);
    assert.equal(status().openSymbols, before);
    assert.equal(symbols.fx_echo_i32(5), 5);
    assert.equal(exceptionOf(() => symbols.fx_read(5n)).info.address, 5n);
  }
}

const kept: unknown[] = [];

function workerOpens(): void {
  for (let index = 0n; index < 50n; index++) kept.push(callable(0x8000n + index, {}));
  for (let index = 0; index < 5; index++) kept.push(openCalls());
  assert.equal(exceptionOf(() => symbols.fx_read(5n)).info.address, 5n);
  // A Worker of Deno ends by itself when nothing is pending.
  setInterval(() => {}, 1000);
}

/** A Worker that closes what it shares with others leaves them their slots. */
async function workerShares(): Promise<void> {
  const echo = symbols.fx_echo_i32;
  const running = [1, 2, 3].map((id) => {
    const url = new URL(import.meta.url);
    const worker = new Worker(url, { workerData: { name: "workerOpensAndCloses", id } });
    return new Promise<void>((resolve, reject) => {
      worker.on("message", () => void worker.terminate().then(() => resolve()));
      worker.on("error", reject);
    });
  });
  let done = false;
  const all = Promise.all(running).then(() => done = true);
  while (!done) {
    for (let round = 0; round < 500; round++) assert.equal(echo(round), round);
    assert.equal(exceptionOf(() => symbols.fx_read(5n)).info.address, 5n);
    using library = openFixture();
    assert.equal(library.symbols.fx_echo_i32(1), 1);
    await wait(0);
  }
  await all;
  assert.equal(echo(9), 9);
}

function workerOpensAndCloses(): void {
  for (let round = 0; round < 200; round++) {
    using library = openFixture();
    assert.equal(library.symbols.fx_echo_i32(round), round);
    assert.equal(exceptionOf(() => library.symbols.fx_read(5n)).info.address, 5n);
  }
}

/** A callback closes the library whose call it is in, while another handle shares the slot. */
async function closedDuringCall(): Promise<void> {
  const unary = { parameters: ["i32"], result: "i32" } as const;
  const shared = openCalls();
  const before = status().openSymbols;
  const closing: ForeignLibrary<typeof callsSymbols> = openCalls();
  using close: Callback = callback(unary, (value) => {
    closing.close();
    assert.throws(() => closing.symbols.echo(1), { code: "CLOSED" });
    assert.equal(shared.symbols.echo(value), value);
    return value;
  });
  assert.equal(closing.symbols.cx_back_sum(close, 5), 10);
  assert.throws(() => closing.symbols.echo(1), { code: "CLOSED" });
  for (let tick = 0; tick < 50 && status().openSymbols !== before; tick++) await wait(5);
  assert.equal(status().openSymbols, before);
  assert.equal(shared.symbols.cx_back_sum(close, 5), 10);
  await wait(10);
  assert.equal(shared.symbols.echo(3), 3);
}

/** Only the function is kept: its library may go, its slot may not. */
async function capturedAndCollected(): Promise<void> {
  const before = status().openSymbols;
  const capture = (): Call => dlopen(callsPath, callsSymbols).symbols.echo as Call;
  const kept = [capture(), capture()];
  for (let round = 0; round < 20; round++) capture();
  await collectUntil(() => status().openSymbols <= before + 30);
  // Others take the slots that were freed.
  const others = Array.from({ length: 40 }, (_, index) => callable(0x7000n + BigInt(index), {}));
  for (const call of kept) {
    for (let round = 0; round < 100; round++) assert.equal(call(round), round);
  }
  for (const [index, other] of others.entries()) {
    assert.equal(exceptionOf(other).info.instructionPointer, 0x7000n + BigInt(index));
  }
}

/** More wrappers of one function than a count of 16 bits holds. */
function manyShared(): void {
  const echo = { name: "fx_echo_i32", parameters: ["i32"], result: "i32" } as const;
  const keys = Array.from({ length: 700 }, (_, index) => `f${index}`);
  const libraries: ForeignLibrary<Record<string, typeof echo>>[] = [];
  const definitions = Object.fromEntries(keys.map((key) => [key, echo]));
  for (let round = 0; round < 3; round++) libraries.push(dlopen(fixturePath, definitions));
  for (const { symbols } of libraries) {
    for (const key of keys) assert.equal(symbols[key]!(7), 7);
  }
  libraries[0]!.close();
  assert.equal(libraries[2]!.symbols.f0!(8), 8);
  libraries[2]!.close();
  assert.equal(libraries[1]!.symbols.f699!(9), 9);
}

await runCase(import.meta.url, {
  overflow,
  stackOverflow,
  workerEnds,
  workerOpens,
  workerShares,
  workerOpensAndCloses,
  closedDuringCall,
  capturedAndCollected,
  manyShared,
});
