/** Calls on another thread: values, faults, and the life of the process around them. */
import { strict as assert } from "node:assert";
import process from "node:process";
import { test } from "node:test";
import { dlopen, HardwareException, type NativeType } from "../mod.ts";
import { callsDie, callsPass, callsPath, openCalls, runCalls, wait } from "./calls_support.ts";
import { x64Only } from "./platform_support.ts";
import { exceptionOf, fixturePath } from "./support.ts";

const nonblocking = true;
const lib = dlopen(callsPath, {
  cx_sleep: { parameters: ["u32", "i64"], result: "i64", nonblocking },
  cx_sleep_and_fill: { parameters: ["u32", "buffer", "usize", "u8"], nonblocking },
  cx_load: { parameters: ["address"], result: "u64", nonblocking },
  cx_overflow: { parameters: ["u64"], result: "u64", nonblocking },
  // Only some processors have a division of this kind that is an exception: none of arm64 has to.
  cx_fltdiv: { parameters: ["f64", "f64"], result: "f64", nonblocking, optional: true },
});
const { symbols } = lib;

/** The hardware exception that a promise must reject with. */
async function rejection(promise: Promise<unknown>): Promise<HardwareException> {
  try {
    const value = await promise;
    assert.fail(`it was fulfilled with ${String(value)}`);
  } catch (error) {
    if (error instanceof HardwareException) return error;
    throw error;
  }
}

const echoes: readonly (readonly [NativeType, string, readonly unknown[]])[] = [
  ["bool", "fx_echo_bool", [true, false]],
  ["i8", "fx_echo_i8", [-128, 127, 0]],
  ["u8", "fx_echo_u8", [255, 0]],
  ["i16", "fx_echo_i16", [-32768, 32767]],
  ["u16", "fx_echo_u16", [65535]],
  ["i32", "fx_echo_i32", [-(2 ** 31), 2 ** 31 - 1]],
  ["u32", "fx_echo_u32", [2 ** 32 - 1]],
  ["i64", "fx_echo_i64", [-(2n ** 63n), -1n]],
  ["u64", "fx_echo_u64", [2n ** 64n - 1n]],
  ["address", "fx_echo_u64", [2n ** 64n - 1n, 0n]],
  ["f32", "fx_echo_f32", [1.5, -0, Infinity]],
  ["f64", "fx_echo_f64", [1 / 3, -0, 5e-324]],
];

for (const [type, name, values] of echoes) {
  test(`nonblocking ${name} takes and gives ${type}`, async () => {
    using library = dlopen(fixturePath, {
      f: { name, parameters: [type], result: type, nonblocking },
    });
    const call = library.symbols.f as (value: unknown) => Promise<unknown>;
    for (const value of values) {
      const promise = call(value);
      assert.ok(promise instanceof Promise);
      assert.ok(Object.is(await promise, value), `${type} of ${value}`);
    }
  });
}

test("nonblocking calls without a result give undefined, and write to buffers", async () => {
  const bytes = new Uint8Array(1000);
  assert.equal(await symbols.cx_sleep_and_fill(1, bytes.subarray(10, 20), 10n, 7), undefined);
  assert.deepEqual([...bytes.subarray(8, 22)], [0, 0, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 0, 0]);
});

test("nonblocking calls write to memory whose view is made while they run", async () => {
  const small = new Uint8Array(8);
  const promise = symbols.cx_sleep_and_fill(30, small, 8n, 9);
  assert.equal(small.buffer.byteLength, 8);
  await promise;
  assert.deepEqual([...small], Array(8).fill(9));
});

test("nonblocking calls write to a SharedArrayBuffer", async () => {
  const shared = new SharedArrayBuffer(16);
  await symbols.cx_sleep_and_fill(1, new Uint8Array(shared, 4), 8n, 3);
  assert.deepEqual([...new Uint8Array(shared)].slice(3, 13), [0, 3, 3, 3, 3, 3, 3, 3, 3, 0]);
});

test("nonblocking cx_load rejects with the fault, of another thread", async () => {
  const before = lib.exceptionCount;
  const error = await rejection(symbols.cx_load(0x44n));
  const { info } = error;
  assert.equal(error.code, "SEGV_MAPERR");
  assert.deepEqual([info.address, info.access, info.type], [0x44n, "read", "access-violation"]);
  assert.equal(info.call?.symbol, "cx_load");
  assert.ok(info.call?.library.includes("calls_fixture"));
  assert.notEqual(info.threadId, info.processId);
  assert.equal(info.processId, process.pid);
  assert.equal(lib.exceptionCount, before + 1);
  assert.equal(await symbols.cx_sleep(0, 5n), 5n);
});

test("nonblocking cx_overflow: a stack overflow of a pool thread is caught (H43)", async () => {
  for (let round = 0; round < 5; round++) {
    const error = await rejection(symbols.cx_overflow(0n));
    assert.equal(error.info.type, "stack-overflow");
    assert.equal((await rejection(symbols.cx_load(1n))).info.type, "access-violation");
  }
  const all = Array.from({ length: 20 }, () => rejection(symbols.cx_overflow(0n)));
  for (const { info } of await Promise.all(all)) assert.equal(info.type, "stack-overflow");
});

const x87 = x64Only("a floating-point division by zero traps");
test(
  "nonblocking cx_fltdiv rejects with the division, not the calls after it (H5)",
  x87,
  async () => {
    for (let round = 0; round < 10; round++) {
      assert.equal((await rejection(symbols.cx_fltdiv!(1, 0))).code, "FPE_FLTDIV");
      assert.equal(await symbols.cx_fltdiv!(1, 4), 0.25);
    }
  },
);

test("nonblocking calls: 200 at once, each with its own value or fault", async () => {
  const all = Array.from(
    { length: 200 },
    (_, index) =>
      index % 4 === 3
        ? rejection(symbols.cx_load(BigInt(index))).then(({ info }) => info.address)
        : symbols.cx_sleep(index % 7, BigInt(index)),
  );
  assert.deepEqual(await Promise.all(all), all.map((_, index) => BigInt(index)));
});

test("nonblocking calls: 10,000 at once", async () => {
  const all = Array.from({ length: 10_000 }, (_, index) => symbols.cx_sleep(0, index));
  const values = await Promise.all(all);
  assert.ok(values.every((value, index) => value === BigInt(index)));
});

test("nonblocking calls: 6,000 that wait at once, more than any queue should refuse", async () => {
  const all = Array.from({ length: 6000 }, (_, index) => symbols.cx_sleep(3, index));
  const settled = await Promise.allSettled(all);
  const reasons = settled.flatMap((one) => one.status === "rejected" ? [String(one.reason)] : []);
  assert.deepEqual([...new Set(reasons)], [], `${reasons.length} were rejected`);
});

test("nonblocking strlen() and getenv() take and give strings", async () => {
  using libc = dlopen("libc.so.6", {
    strlen: { parameters: ["cstring"], result: "usize", nonblocking },
    getenv: { parameters: ["cstring"], result: "cstring", nonblocking },
  });
  const { strlen, getenv } = libc.symbols;
  const texts = ["", "a", "äöü", "x".repeat(5000)];
  const lengths = await Promise.all(texts.map((one) => strlen(one)));
  assert.deepEqual(lengths, [0n, 1n, 6n, 5000n]);
  assert.equal(await getenv("PATH"), process.env.PATH);
  assert.equal(await getenv("FAULTLINE_NO_SUCH_VARIABLE"), null);
  await assert.rejects(strlen("a\0b"), { name: "TypeError", message: /strlen\(\) of libc/ });
  await assert.rejects(strlen(5 as never), TypeError);
});

test("nonblocking calls that give a wild string reject with the fault of reading it", async () => {
  using library = dlopen(callsPath, {
    cx_sleep: { parameters: ["u32", "i64"], result: "cstring", nonblocking },
  });
  const error = await rejection(library.symbols.cx_sleep(0, 0x18n));
  assert.equal(error.info.call?.symbol, "cx_sleep");
  assert.equal(error.info.address, 0x18n);
  assert.equal(library.exceptionCount, 1);
});

test("nonblocking calls that take long do not block the event loop, nor each other", async () => {
  let ticks = 0;
  const timer = setInterval(() => ticks++, 5);
  const start = performance.now();
  const long = Array.from({ length: 8 }, () => symbols.cx_sleep(300, 1));
  assert.ok(performance.now() - start < 200);
  await symbols.cx_sleep(0, 1);
  assert.ok(performance.now() - start < 280, "a short call waited for long ones");
  await Promise.all(long);
  clearInterval(timer);
  assert.ok(ticks >= 10, `${ticks} ticks`);
  assert.ok(performance.now() - start < 1500);
});

test("nonblocking calls reject for wrong arguments, and native code does not run", async () => {
  using library = dlopen(fixturePath, {
    fx_note: { parameters: ["u64"], nonblocking },
    address: { name: "fx_note", parameters: ["address"], nonblocking },
    fx_noted: { result: "u64" },
  });
  const { fx_note, address, fx_noted } = library.symbols;
  const before = fx_noted();
  const note = fx_note as (...values: unknown[]) => Promise<unknown>;
  for (const wrong of [undefined, "1", null, {}]) {
    let promise: Promise<unknown> | undefined;
    assert.doesNotThrow(() => promise = note(wrong));
    await assert.rejects(promise!, { name: "TypeError", message: /fx_note\(\).*argument 1 of 1/ });
  }
  await assert.rejects(address(-1n), { name: "RangeError" });
  assert.equal(fx_noted(), before);
  await note(1, "extra");
  assert.equal(fx_noted(), before + 1n);
});

test("close() with nonblocking calls in flight: they finish, new ones reject", async () => {
  const library = dlopen(callsPath, {
    cx_sleep: { parameters: ["u32", "i64"], result: "i64", nonblocking },
    cx_load: { parameters: ["address"], nonblocking },
  });
  const { cx_sleep, cx_load } = library.symbols;
  const running = Array.from({ length: 5 }, (_, index) => cx_sleep(60, index));
  const failing = rejection(cx_load(8n));
  library.close();
  library.close();
  await assert.rejects(cx_sleep(0, 1), { code: "CLOSED", message: /cx_sleep\(\).*closed/ });
  assert.deepEqual(await Promise.all(running), [0n, 1n, 2n, 3n, 4n]);
  assert.equal((await failing).code, "SEGV_MAPERR");
  await assert.rejects(cx_load(8n), { code: "CLOSED" });
  await wait(20);
  await assert.rejects(cx_sleep(0, 1), { code: "CLOSED" });
});

test("nonblocking abort() with the signal named rejects, again and again", async () => {
  using libc = dlopen("libc.so.6", {
    abort: { nonblocking, signals: ["SIGABRT"] },
    getpid: { result: "i32", nonblocking },
  });
  for (let round = 0; round < 5; round++) {
    const error = await rejection(libc.symbols.abort());
    assert.deepEqual([error.info.signal, error.info.type], ["SIGABRT", "abort"]);
    assert.equal(await libc.symbols.getpid(), process.pid);
  }
});

test("nonblocking and ordinary calls of one function stand side by side", async () => {
  const ordinary = openCalls();
  const running = symbols.cx_sleep(50, 77n);
  for (let round = 0; round < 100; round++) {
    assert.equal(exceptionOf(() => ordinary.symbols.cx_load(5n)).info.address, 5n);
    assert.equal(ordinary.symbols.cx_sleep(0, round), BigInt(round));
  }
  assert.equal(await running, 77n);
  ordinary.close();
});

test("a program ends by itself when no nonblocking call is pending", () => {
  const start = performance.now();
  callsPass("nonblocking", "endsAlone");
  assert.ok(performance.now() - start < 5000);
});

test("a program stays alive while a nonblocking call is pending", () => {
  const { stdout, status } = runCalls("nonblocking", "staysAlive");
  assert.deepEqual([status, stdout], [0, "passed\nresult 5\n"]);
});

test("a program ends though nonblocking calls are pending if it says so", () => {
  const { stdout, status } = runCalls("nonblocking", "exitsEarly");
  assert.deepEqual([status, stdout], [3, "passed\nleaving\n"]);
});

for (
  const name of [
    ...["inWorkers", "buffersKept", "manyThenExit", "workerEnds", "workerEndsFaulting"],
    "workerEndsBusy",
  ]
) {
  test(`nonblocking calls in a process of its own: ${name}`, () => {
    for (let round = 0; round < 3; round++) callsPass("nonblocking", name);
  });
}

test('nonblocking calls with exceptions: "propagate" end the process by the signal', () => {
  callsDie("SIGSEGV", "nonblocking", "propagate");
});
