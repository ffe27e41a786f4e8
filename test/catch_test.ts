/** catchException() and throwException(), and guarded calls inside each other. */
import { strict as assert } from "node:assert";
import process from "node:process";
import { test } from "node:test";
import {
  catchException,
  dlopen,
  type ForeignLibrary,
  HardwareException,
  type Result,
  throwException,
} from "../mod.ts";
import * as faultline from "../mod.ts";
import { childPasses, exceptionOf, fixturePath, openFixture, rawCallback } from "./support.ts";

const lib = openFixture();
const { symbols } = lib;

/** Functions that call back, with the callback declared as a plain pointer or as what it is. */
function openCallers<T extends "pointer" | "function">(type: T): ForeignLibrary<{
  fx_callback: { parameters: [T, "i32"]; result: "i32" };
  fx_callback_and_read: { parameters: [T, "i32", "address"]; result: "u64" };
}> {
  return dlopen(fixturePath, {
    fx_callback: { parameters: [type, "i32"], result: "i32" },
    fx_callback_and_read: { parameters: [type, "i32", "address"], result: "u64" },
  });
}

/** The error of a result that must be a failure. */
function errorOf(result: Result<unknown>): HardwareException {
  assert.equal(result.ok, false);
  return (result as { error: HardwareException }).error;
}

test("catchException() gives the value of a body that does not fault", () => {
  assert.deepEqual(catchException(() => symbols.fx_echo_i32(5)), { ok: true, value: 5 });
  assert.deepEqual(catchException(() => undefined), { ok: true, value: undefined });
  assert.deepEqual(catchException(() => null), { ok: true, value: null });
});

test("catchException() gives the exception of a body that faults", () => {
  const error = errorOf(catchException(() => symbols.fx_read(0x40n)));
  assert.ok(error instanceof HardwareException);
  assert.equal(error.info.address, 0x40n);
});

test("H18 catchException() lets every other error through, and counts no exception", () => {
  const before = lib.exceptionCount;
  for (const thrown of [new Error("own"), new TypeError("own"), null, undefined, 0, "text"]) {
    let caught: unknown = "nothing";
    try {
      catchException(() => {
        symbols.fx_echo_i32(1);
        throw thrown;
      });
    } catch (error) {
      caught = error;
    }
    assert.equal(caught, thrown);
  }
  assert.throws(() => catchException(() => symbols.fx_echo_i32("x" as never)), TypeError);
  assert.equal(lib.exceptionCount, before);
  // The recovery points are as they were: a fault still goes to its own call.
  assert.equal(errorOf(catchException(() => symbols.fx_read(8n))).info.address, 8n);
});

test("catchException() gives a promise for a body that gives one", async () => {
  const value = catchException(async () => await Promise.resolve(symbols.fx_echo_i32(3)));
  assert.ok(value instanceof Promise);
  assert.deepEqual(await value, { ok: true, value: 3 });
  const fault = await catchException(async () => {
    await Promise.resolve();
    return symbols.fx_read(0x88n);
  });
  assert.equal(errorOf(fault).info.address, 0x88n);
  await assert.rejects(catchException(() => Promise.reject(new RangeError("own"))), RangeError);
  const thenable = { then: (resolve: (value: number) => void) => resolve(9) };
  assert.deepEqual(await catchException(() => thenable as PromiseLike<number>), {
    ok: true,
    value: 9,
  });
});

test("catchException() refuses what is not a function", () => {
  for (const body of [undefined, null, 1, {}, Promise.resolve()]) {
    assert.throws(() => catchException(body as never), {
      name: "TypeError",
      message: /Cannot catch exceptions as what to run is not a function/,
    });
  }
});

test("H12 throwException() from ordinary code is caught by catchException()", () => {
  const error = errorOf(catchException(() => throwException({ page: 7 })));
  assert.deepEqual(error.additional, { page: 7 });
  const { info } = error;
  assert.equal(info.type, "user");
  assert.equal(info.zxType, 0x8309);
  assert.equal(info.signal, null);
  assert.equal(info.address, null);
  assert.equal(info.access, null);
  assert.equal(info.call, null);
  assert.equal(info.processId, process.pid);
  assert.equal(error.name, "HardwareException");
  assert.match(error.message, /throwException\(\)/);
});

test("H13 throwException() hands over anything, and undefined where nothing was given", () => {
  const payload = { self: null as unknown, big: 5n, run: () => 1 };
  payload.self = payload;
  for (const additional of [payload, null, 0, "", false, 7n, Symbol.iterator, new Error("e")]) {
    const error = errorOf(catchException(() => throwException(additional)));
    assert.equal(error.additional, additional);
  }
  assert.equal(errorOf(catchException(() => throwException())).additional, undefined);
  assert.equal(errorOf(catchException(() => symbols.fx_ud2())).additional, undefined);
});

test("H11 throwException() throws where nothing catches and no guarded call was ever made", () => {
  childPasses("catch", "throwAlone");
});

test("H16 throwException() throws on a Worker, and the main thread's calls are untouched", () => {
  childPasses("catch", "throwAlone", "worker");
  childPasses("catch", "twoThreads");
});

test("faultline.catch and faultline.throw are catchException() and throwException()", () => {
  assert.equal(faultline.catch, catchException);
  assert.equal(faultline.throw, throwException);
});

test("H14 catchException() inside catchException(): each fault goes to the innermost", () => {
  const outer = catchException(() => {
    const inner = catchException(() => symbols.fx_read(0x10n));
    assert.equal(errorOf(inner).info.address, 0x10n);
    assert.equal(symbols.fx_echo_i32(4), 4);
    symbols.fx_read(0x20n);
    assert.fail("the second fault was not thrown");
  });
  assert.equal(errorOf(outer).info.address, 0x20n);
  const thrown = catchException(() => {
    assert.equal(errorOf(catchException(() => throwException(1))).additional, 1);
    throwException(2);
  });
  assert.equal(errorOf(thrown).additional, 2);
});

for (const type of ["pointer", "function"] as const) {
  const callers = openCallers(type);

  test(`H14 dlopen() recovers the inner of two calls, and the outer goes on, by ${type}`, () => {
    const seen: unknown[] = [];
    const callback = rawCallback((value) => {
      seen.push(exceptionOf(() => symbols.fx_read(BigInt(value))).info.address);
      seen.push(symbols.fx_echo_f64(0.5));
      return value * 2;
    });
    for (let round = 1; round <= 200; round++) {
      assert.equal(callers.symbols.fx_callback(callback.pointer, round), round * 2 + 1);
    }
    assert.deepEqual(seen.slice(-2), [200n, 0.5]);
    assert.equal(seen.length, 400);
    callback.close();
  });

  test(`H14 dlopen() keeps the outer call armed after a fault of the inner, by ${type}`, () => {
    const callback = rawCallback((value) => {
      exceptionOf(() => symbols.fx_write(BigInt(value), 1));
      return 0;
    });
    for (let round = 1; round <= 200; round++) {
      const call = (): unknown =>
        callers.symbols.fx_callback_and_read(callback.pointer, round, 0x5000n + BigInt(round));
      const { info } = exceptionOf(call);
      assert.equal(info.address, 0x5000n + BigInt(round));
      assert.equal(info.call?.symbol, "fx_callback_and_read");
    }
    callback.close();
  });

  test(`H14 dlopen() recovers calls five deep, by ${type}`, () => {
    const addresses: (bigint | null)[] = [];
    const callback = rawCallback((depth) => {
      if (depth > 0) {
        const call = (): unknown =>
          callers.symbols.fx_callback_and_read(callback.pointer, depth - 1, BigInt(depth));
        addresses.push(exceptionOf(call).info.address);
      }
      return depth;
    });
    assert.equal(callers.symbols.fx_callback(callback.pointer, 5), 6);
    assert.deepEqual(addresses, [1n, 2n, 3n, 4n, 5n]);
    callback.close();
  });

  test(`close() inside a callback of the library's own call lets it end, by ${type}`, async () => {
    const library = openCallers(type);
    const callback = rawCallback((value) => {
      library.close();
      assert.throws(() => library.symbols.fx_callback(null, 0), { code: "CLOSED" });
      return value;
    });
    const call = (): unknown => library.symbols.fx_callback_and_read(callback.pointer, 1, 0x99n);
    assert.equal(exceptionOf(call).info.address, 0x99n);
    assert.equal(library.exceptionCount, 1);
    assert.throws(call, { code: "CLOSED" });
    await new Promise((resolve) => setTimeout(resolve, 20));
    assert.throws(call, { code: "CLOSED" });
    callback.close();
  });
}
