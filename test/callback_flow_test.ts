/** Callbacks: what they throw, how deep they nest, on which threads and in which state they run. */
import { strict as assert } from "node:assert";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { type Callback, callback, dlopen, HardwareException } from "../mod.ts";
import { callsDie, callsPass, callsPath, openCalls, wasmLoad, WasmTrap } from "./calls_support.ts";
import { arm64, x64Only } from "./platform_support.ts";
import { exceptionOf, fixturePath } from "./support.ts";

const lib = openCalls();
const { symbols } = lib;
const unary = { parameters: ["i32"], result: "i32" } as const;

/** What `body` throws, of any kind. */
function thrownBy(body: () => unknown): unknown {
  try {
    body();
  } catch (error) {
    return error;
  }
  assert.fail("nothing was thrown");
}

const thrown: readonly (readonly [string, unknown])[] = [
  ["an Error", new Error("mine")],
  ["a string", "text"],
  ["undefined", undefined],
  ["null", null],
  ["0", 0],
  ["a frozen object", Object.freeze({ a: 1 })],
  ["a symbol", Symbol("s")],
  ["a function", () => 1],
  ["a bigint", 5n],
  ["a Promise", Promise.resolve(1)],
];

for (const [what, value] of thrown) {
  test(`callback() that throws ${what} makes the guarded call throw it`, () => {
    using made = callback(unary, () => {
      throw value;
    });
    assert.ok(Object.is(thrownBy(() => symbols.cx_back_i32(made, 1)), value));
    assert.ok(Object.is(thrownBy(() => symbols.cx_back_void(made)), value));
    assert.equal(symbols.echo(4), 4);
  });
}

test("callback() that threw is not run again in the same call, nor is any other", () => {
  const seen: number[] = [];
  using made = callback(unary, (value) => {
    seen.push(value);
    if (value >= 3) throw new RangeError(`at ${value}`);
    return value + 10;
  });
  const results = new Int32Array(8).fill(99);
  assert.throws(() => symbols.cx_back_each(made, results, 8), {
    name: "RangeError",
    message: "at 3",
  });
  assert.deepEqual([...results], [10, 11, 12, 0, 0, 0, 0, 0]);
  assert.deepEqual(seen, [0, 1, 2, 3]);
  assert.equal(symbols.cx_back_i32(made, 1), 11);
});

test("callback() that threw before a fault: the first thing thrown surfaces", () => {
  using made = callback(unary, () => {
    throw "first";
  });
  for (let round = 0; round < 50; round++) {
    assert.equal(thrownBy(() => symbols.cx_back_and_read(made, 1, 0n)), "first");
    assert.equal(exceptionOf(() => symbols.cx_load(5n)).info.address, 5n);
    assert.equal(symbols.echo(round), round);
  }
});

test("callback() passes a fault in it on, as it is, if it does not catch it", () => {
  const before = lib.exceptionCount;
  using made = callback(unary, () => Number(symbols.cx_load(0x77n)));
  const error = exceptionOf(() => symbols.cx_back_i32(made, 1));
  assert.equal(error.info.call?.symbol, "cx_load");
  assert.equal(error.info.address, 0x77n);
  assert.equal(lib.exceptionCount, before + 1);
});

/** Nests `levels` guarded calls and callbacks; `bottom` runs in the innermost callback. */
function nest(levels: number, bottom: () => number): number {
  using made = callback(unary, () => levels === 1 ? bottom() : nest(levels - 1, bottom));
  return symbols.cx_back_i32(made, levels);
}

test("callback() nests ten levels deep", () => {
  assert.equal(nest(10, () => 7), 7);
});

test("callback() passes an exception of JavaScript through ten levels unchanged", () => {
  const value = { deep: true };
  const error = thrownBy(() =>
    nest(10, () => {
      throw value;
    })
  );
  assert.equal(error, value);
  assert.equal(symbols.echo(1), 1);
});

test("callback() keeps faults at three levels apart", () => {
  const order: string[] = [];
  const level = (depth: number): number => {
    using made = callback(unary, (value) => {
      const before = exceptionOf(() => symbols.cx_load(BigInt(depth)));
      order.push(`${depth} ${before.info.address}`);
      const inner = depth < 3 ? level(depth + 1) : 100;
      const after = exceptionOf(() => symbols.cx_load(BigInt(depth + 10)));
      order.push(`${depth} ${after.info.address}`);
      return inner + value;
    });
    const result = symbols.cx_back_i32(made, depth);
    const error = exceptionOf(() => symbols.cx_back_and_read(made, 0, BigInt(depth + 20)));
    order.push(`${depth} ${error.info.address} ${error.info.call?.symbol}`);
    return result;
  };
  assert.equal(level(1), 106);
  // Each level runs its body twice: once for the value, once before the fault.
  assert.equal(order.length, 2 * 2 + 1 + 2 * (2 * 2 + 1 + 2 * (2 * 2 + 1)));
  assert.equal(order[0], "1 1");
  assert.equal(order[2], "3 3");
  assert.equal(order.at(-1), "1 21 cx_back_and_read");
});

test("callback() that catches what its inner call throws goes on", () => {
  using inner = callback(unary, () => {
    throw "inner";
  });
  using outer = callback(unary, (value) => {
    assert.equal(thrownBy(() => symbols.cx_back_i32(inner, 1)), "inner");
    return value + 1;
  });
  assert.equal(symbols.cx_back_sum(outer, 4), 10);
});

test("callback() that recurses without end throws a RangeError, not a signal", () => {
  const made: Callback = callback(unary, (value) => symbols.cx_back_i32(made, value + 1));
  assert.throws(() => symbols.cx_back_i32(made, 0), RangeError);
  assert.equal(symbols.echo(3), 3);
  made.close();
});

test("callback() runs with default floating-point state and gives the caller's back", () => {
  using control = dlopen(callsPath, {
    cx_back_control: { parameters: ["u32", "u32", "function", "buffer"], result: "i32" },
  });
  const third = 1 / 3;
  const seen: unknown[] = [];
  using made = callback(unary, (value) => {
    const [one, three, tiny] = [1, 3, 5e-324].map((number) => number * value / 7);
    seen.push([one! / three!, tiny, 0.1 + 0.2, -one! / three!, 1e308 * 10]);
    return value;
  });
  symbols.cx_back_i32(made, 7);
  const expected = seen.pop();
  assert.deepEqual(expected, [third, 5e-324, 0.1 + 0.2, -third, Infinity]);
  // Flush to zero, denormals are zero, the four rounding modes, and x87 in single precision.
  const controls = arm64
    ? [0, 0x300_0000, 0x40_0000, 0x80_0000, 0xc0_0000]
    : [0x1f80, 0x9fc0, 0x3f80, 0x5f80, 0x7f80, 0xffc0];
  for (const mxcsr of controls) {
    for (const x87 of arm64 ? [0] : [0x37f, 0x7f, 0xc7f, 0x47f]) {
      const after = new Uint32Array(2);
      assert.equal(control.symbols.cx_back_control(mxcsr, x87, made, after), 7);
      assert.deepEqual([...after], [mxcsr, x87]);
      assert.deepEqual(seen.pop(), expected, `mxcsr ${mxcsr.toString(16)}`);
    }
  }
});

const floatTraps = x64Only("every CPU traps floating-point exceptions");

test("callback() under unmasked exceptions: JavaScript raises none", floatTraps, () => {
  using control = dlopen(callsPath, {
    cx_back_control: { parameters: ["u32", "u32", "function", "buffer"], result: "i32" },
  });
  const remainder = (a: number, b: number): number => a % b;
  let sum = 0;
  for (let round = 0; round < 200_000; round++) sum += remainder(round + 0.5, 3.25);
  assert.ok(sum > 0);
  using made = callback(unary, (value) => {
    for (let round = 0; round < 100; round++) {
      remainder(Infinity, 2.5);
      remainder(5e-324, 3);
      remainder(1, 0);
      assert.equal(Math.sqrt(-1) + 1 / 0, NaN);
    }
    return value;
  });
  const after = new Uint32Array(2);
  for (const [mxcsr, x87] of [[0x1f80, 0x340], [0x1d00, 0x37f], [0x0000, 0x340]] as const) {
    assert.equal(control.symbols.cx_back_control(mxcsr, x87, made, after), 7);
    assert.deepEqual([...after], [mxcsr, x87]);
  }
});

test("a native function as callback that leaves x87 flags raises nothing in its caller", () => {
  using control = dlopen(callsPath, {
    cx_back_control: { parameters: ["u32", "u32", "function", "buffer"], result: "i32" },
  });
  using loader = dlopen("libc.so.6", {
    dlopen: { parameters: ["buffer", "i32"], result: "pointer" },
    dlsym: { parameters: ["pointer", "buffer"], result: "pointer" },
  });
  const text = (value: string): Uint8Array => new TextEncoder().encode(`${value}\0`);
  const handle = loader.symbols.dlopen(text(callsPath), 2);
  const native = loader.symbols.dlsym(handle, text("cx_native_invalid"));
  const after = new Uint32Array(2);
  // On arm64 the flags of FPSR, which are clear before the callback.
  const words = arm64 ? [0, 0] as const : [0x1f80, 0x37e] as const;
  assert.equal(control.symbols.cx_back_control(words[0], words[1], native, after), 7);
  assert.deepEqual([...after], words);
});

test("callback() from another native thread gives 0, and the call is a TypeError", () => {
  let calls = 0;
  using made = callback(unary, (value) => {
    calls++;
    return value;
  });
  for (let round = 0; round < 20; round++) {
    assert.throws(() => symbols.cx_back_on_thread(made, 5), {
      name: "TypeError",
      message: /cx_back_on_thread\(\) of .*calls_fixture\.so .*another thread/,
    });
    assert.equal(symbols.cx_back_i32(made, round), round);
  }
  assert.equal(calls, 20);
});

test("callback() passed to a nonblocking call is a TypeError", async () => {
  using library = dlopen(callsPath, {
    cx_back_i32: { parameters: ["function", "i32"], result: "i32", nonblocking: true },
    pointer: {
      name: "cx_back_i32",
      parameters: ["pointer", "i32"],
      result: "i32",
      nonblocking: true,
    },
    address: {
      name: "cx_back_i32",
      parameters: ["address", "i32"],
      result: "i32",
      nonblocking: true,
    },
  });
  let calls = 0;
  using made = callback(unary, (value) => ++calls + value);
  const refused = { name: "TypeError", message: /cx_back_i32\(\) of .*callback.*argument 1/ };
  await assert.rejects(library.symbols.cx_back_i32(made, 1), refused);
  await assert.rejects(library.symbols.pointer(made, 1), refused);
  // By its address it cannot be seen beforehand: the call that reached it says so.
  await assert.rejects(library.symbols.address(made.address, 1), {
    name: "TypeError",
    message: /cx_back_i32\(\) of .* reached from another thread/,
  });
  assert.equal(symbols.cx_back_i32(made, 1), calls + 1);
});

test("callback() in a guarded call survives every kind of fault in calls of its own", () => {
  using faults = dlopen(fixturePath, {
    fx_read: { parameters: ["address"], result: "u64" },
    fx_jump: { parameters: ["address"] },
    fx_divide: { parameters: ["i32", "i32"], result: "i32" },
    fx_ud2: {},
    fx_int3: { result: "i32" },
    fx_hlt: {},
    fx_overflow: { parameters: ["u64"], result: "u64" },
    fx_dirty_fault: { parameters: ["address"] },
    fx_raise: { parameters: ["u32"], result: "i32", signals: ["SIGABRT"] },
  });
  const f = faults.symbols;
  const kinds: (() => unknown)[] = [
    () => f.fx_read(8n),
    () => f.fx_jump(8n),
    () => arm64 ? f.fx_read(16n) : f.fx_divide(1, 0),
    () => f.fx_ud2(),
    () => f.fx_int3(),
    () => f.fx_hlt(),
    () => f.fx_overflow(0n),
    () => f.fx_dirty_fault(8n),
    () => f.fx_raise(6),
    () => symbols.cx_load(8n),
  ];
  using made = callback(unary, (value) => {
    assert.ok(thrownBy(kinds[value]!) instanceof HardwareException);
    return value;
  });
  assert.equal(symbols.cx_back_sum(made, kinds.length), 45);
  for (const kind of kinds) {
    using uncaught = callback(unary, () => void kind());
    assert.ok(thrownBy(() => symbols.cx_back_i32(uncaught, 1)) instanceof HardwareException);
  }
});

test("callback() may trap in WebAssembly", () => {
  const load = wasmLoad();
  using made = callback(unary, (value) => {
    assert.throws(() => load(0x7fff_0000), WasmTrap);
    assert.equal(load(16), 0);
    return value;
  });
  for (let round = 0; round < 100; round++) assert.equal(symbols.cx_back_i32(made, round), round);
  using uncaught = callback(unary, () => load(0x7fff_0000));
  assert.throws(() => symbols.cx_back_i32(uncaught, 1), WasmTrap);
  assert.equal(exceptionOf(() => symbols.cx_load(9n)).info.address, 9n);
});

for (
  const name of [
    ...["inWorker", "otherWorker", "terminated", "deoptimised", "withoutThunk", "throwsUnguarded"],
    ...["twoCopies", "twoCopiesByPointer"],
  ]
) {
  test(`callback() in a process of its own: ${name}`, () => callsPass("callbacks", name));
}

test("callback() without a thunk deoptimises its caller and lives", () => {
  callsPass("callbacks", "deoptimisedWithoutThunk");
});

test("a fault of the runtime itself in a raw callback ends the process by its signal", () => {
  callsDie("SIGSEGV", "callbacks", "runtimeFault");
});

test("a fault of an unguarded call in a raw callback ends the process by its signal", () => {
  assert.ok(readFileSync(callsPath).length > 0);
  callsDie("SIGSEGV", "callbacks", "rawFault");
});
