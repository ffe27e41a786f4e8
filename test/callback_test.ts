/** Callbacks: what goes into them and comes out, how they close, and what is refused. */
import { strict as assert } from "node:assert";
import { test } from "node:test";
import { type Callback, callback, dlopen, type NativeType } from "../mod.ts";
import { callsPass, callsPath, openCalls, wait } from "./calls_support.ts";
import { nativePath } from "../lib/native.ts";
import { exceptionOf, fixturePath, runChild, runtimeName } from "./support.ts";

const lib = openCalls();
const { symbols } = lib;
const convert = dlopen(fixturePath, {
  addressOf: { name: "fx_echo_u64", parameters: ["pointer"], result: "address" },
  pointerTo: { name: "fx_echo_u64", parameters: ["address"], result: "pointer" },
}).symbols;

/** A function of the fixture that hands `type` to a callback and back. */
function through(type: NativeType): (callback: Callback, value: unknown) => unknown {
  const wide = ["isize", "usize", "pointer", "buffer", "function", "address"].includes(type);
  const name = `cx_back_${type === "isize" ? "i64" : wide ? "u64" : type}`;
  const library = dlopen(callsPath, {
    call: { name, parameters: ["function", type], result: type },
  });
  return library.symbols.call as (callback: Callback, value: unknown) => unknown;
}

const values: Readonly<Partial<Record<NativeType, readonly unknown[]>>> = {
  bool: [true, false],
  i8: [0, 1, -1, 127, -128],
  u8: [0, 1, 127, 128, 255],
  i16: [0, 1, -1, 32767, -32768],
  u16: [0, 1, 32768, 65535],
  i32: [0, 1, -1, 2 ** 31 - 1, -(2 ** 31)],
  u32: [0, 1, 2 ** 31, 2 ** 32 - 1],
  i64: [0n, 1n, -1n, 2n ** 63n - 1n, -(2n ** 63n), 2n ** 53n + 1n],
  u64: [0n, 1n, 2n ** 63n, 2n ** 64n - 1n, 2n ** 53n + 1n],
  isize: [0n, -1n, -(2n ** 63n)],
  usize: [0n, 2n ** 64n - 1n],
  address: [0n, 1n, 2n ** 47n, 2n ** 64n - 1n],
  f32: [0, -0, 1.5, Math.fround(0.1), Infinity, -Infinity, NaN, 2 ** -149],
  f64: [0, -0, 1.5, 0.1, 1 / 3, Infinity, NaN, 5e-324, Number.MAX_VALUE],
};

for (const [type, list] of Object.entries(values)) {
  test(`callback() takes and gives ${type}`, () => {
    const call = through(type as NativeType);
    for (const value of list) {
      let seen: unknown[] = [];
      using echo = callback(
        { parameters: [type as NativeType], result: type as NativeType },
        (...args) => {
          seen = args;
          return args[0];
        },
      );
      const returned = call(echo, value);
      assert.equal(seen.length, 1);
      assert.ok(Object.is(seen[0], value), `${type}: it got ${seen[0]} for ${value}`);
      assert.ok(Object.is(returned, value), `${type}: ${returned} came back for ${value}`);
    }
  });
}

for (const type of ["pointer", "buffer", "function"] as const) {
  test(`callback() takes and gives ${type} as this runtime's pointer values`, () => {
    const address = type === "function" ? symbolAddress() : 0x7f00_1234_5678n;
    const pointer = convert.pointerTo(address);
    const seen: bigint[] = [];
    using echo = callback({ parameters: [type], result: "address" }, (value) => {
      seen.push(convert.addressOf(value));
      return 7n;
    });
    using call = dlopen(callsPath, {
      cx_back_u64: { parameters: ["function", "address"], result: "address" },
    });
    assert.equal(call.symbols.cx_back_u64(echo, address), 7n);
    assert.equal(call.symbols.cx_back_u64(echo, 0n), 7n);
    assert.deepEqual(seen, [address, 0n]);
    if (type === "buffer") return;
    using give = callback({ parameters: ["address"], result: type }, (value) => value && pointer);
    const given = call.symbols.cx_back_u64(give, 1n);
    // A function is given with a barrier in front of it.
    assert.equal(type === "function" ? given !== 0n : given === address, true);
    using none = callback({ parameters: ["address"], result: type }, () => null);
    assert.equal(call.symbols.cx_back_u64(none, 1n), 0n);
  });
}

function symbolAddress(): bigint {
  using library = dlopen("libc.so.6", {
    dlsym: { parameters: ["address", "buffer"], result: "address" },
  });
  const address = library.symbols.dlsym(0n, new TextEncoder().encode("abs\0"));
  assert.notEqual(address, 0n);
  return address;
}

test("callback() gives buffers and callbacks as their addresses", () => {
  using call = dlopen(callsPath, {
    cx_back_u64: { parameters: ["function", "address"], result: "address" },
  });
  const bytes = new Uint8Array(16);
  using address = callback({ parameters: ["address"], result: "pointer" }, () => bytes);
  const start = call.symbols.cx_back_u64(address, 0n);
  assert.notEqual(start, 0n);
  for (const type of ["pointer", "buffer"] as const) {
    using part = callback({ parameters: ["address"], result: type }, () => bytes.subarray(5));
    assert.equal(call.symbols.cx_back_u64(part, 0n), start + 5n, type);
  }
  for (const type of ["pointer", "function"] as const) {
    using self: Callback = callback({ parameters: ["address"], result: type }, () => address);
    assert.equal(call.symbols.cx_back_u64(self, 0n), address.address, type);
  }
});

test("callback() takes 22 arguments of mixed types, from registers and stack", () => {
  const parameters = [
    ...["i8", "u16", "i32", "u32", "i64", "u64"] as const,
    ...["f32", "f64", "f64", "f32", "f64", "f64", "f64", "f64"] as const,
    ...["f64", "f32", "i8", "u16", "i64", "f64", "bool", "u64"] as const,
  ] as const;
  using call = dlopen(callsPath, { cx_back_mixed: { parameters: ["function"], result: "f64" } });
  let seen: unknown[] = [];
  using mixed = callback({ parameters, result: "f64" }, (...args) => {
    seen = args;
    return 0.75;
  });
  assert.equal(call.symbols.cx_back_mixed(mixed), 0.75);
  assert.deepEqual(seen, [
    ...[-1, 65535, -3, 4_000_000_000, -5_000_000_000_000n, 0xffff_ffff_ffff_fff0n],
    ...[0.5, 1.5, -2.5, 4.25, 5.5, 6.5, -7.5, 8.5, 9.75, -10.25, -11, 65524, -13n, 14.5, true, 16n],
  ]);
});

for (const count of [22, 26] as const) {
  test(`callback() takes ${count} words, or refuses so many when it is made`, () => {
    using call = dlopen(callsPath, {
      call: { name: `cx_back_words${count}`, parameters: ["function"], result: "u64" },
    });
    const parameters = Array.from({ length: count }, () => "u64" as const);
    let seen: unknown[] = [];
    let made: Callback;
    try {
      made = callback({ parameters, result: "u64" }, (...args) => {
        seen = args;
        return BigInt(args.length);
      });
    } catch (error) {
      assert.ok(count > 22 && error instanceof TypeError, String(error));
      return;
    }
    using _made = made;
    assert.equal(call.symbols.call(made), BigInt(count));
    assert.deepEqual(seen, Array.from({ length: count }, (_, index) => BigInt(index + 1)));
  });
}

const wrongResults: readonly (readonly [NativeType, unknown, RegExp])[] = [
  ["i32", "7", /"7".*i32/],
  ["i32", undefined, /undefined.*i32/],
  ["i32", 7n, /7n.*i32/],
  ["bool", 1, /1.*bool/],
  ["f64", null, /null.*f64/],
  ["f32", "1", /"1".*f32/],
  ["i64", "1", /"1".*i64/],
  ["u64", undefined, /undefined.*u64/],
  ["address", 5, /5.*address/],
  ["u8", {}, /Object.*u8/],
  ["i32", Promise.resolve(1), /Promise.*i32/],
];

for (const [index, [type, value, message]] of wrongResults.entries()) {
  test(`callback() that gives a wrong ${type} is a TypeError, case ${index + 1}`, () => {
    const call = through(type);
    using wrong = callback({ parameters: [type], result: type }, () => value);
    const argument = values[type]![1];
    assert.throws(() => call(wrong, argument), { name: "TypeError", message });
    using right = callback({ parameters: [type], result: type }, (value) => value);
    assert.ok(Object.is(call(right, argument), argument));
  });
}

test("callback() that gives an address out of range is an error of the call", () => {
  using call = dlopen(callsPath, {
    cx_back_u64: { parameters: ["function", "address"], result: "address" },
  });
  using wrong = callback({ parameters: ["address"], result: "address" }, () => -1n);
  assert.throws(() => call.symbols.cx_back_u64(wrong, 1n), /-1n.*address/);
});

test("callback() without a result ignores what the body gives, a promise too", async () => {
  let calls = 0;
  using made = callback({}, () => ++calls);
  assert.equal(symbols.cx_back_void(made), undefined);
  using later = callback({}, async () => {
    calls++;
    await null;
    calls++;
  });
  assert.equal(symbols.cx_back_void(later), undefined);
  assert.equal(calls, 2);
  await wait(1);
  assert.equal(calls, 3);
});

test("callback() wraps integers that are too large as a typed array does", () => {
  const call = through("u8");
  using made = callback({ parameters: ["u8"], result: "u8" }, (value) => value + 300.9);
  assert.equal(call(made, 1), Uint8Array.of(301.9)[0]);
});

test("callback() takes strings, and refuses to give them", () => {
  using libc = dlopen("libc.so.6", {
    bsearch: {
      parameters: ["cstring", "cstring", "usize", "usize", "function"],
      result: "cstring",
    },
  });
  const seen: unknown[] = [];
  using compare = callback({ parameters: ["cstring", "cstring"], result: "i32" }, (...args) => {
    seen.push(...args);
    return 0;
  });
  assert.equal(libc.symbols.bsearch("kéy", "table", 1, 6, compare), "table");
  assert.deepEqual(seen, ["kéy", "table"]);
  assert.throws(() => callback({ result: "cstring" }, () => "x"), {
    name: "TypeError",
    message: /result.*cstring/,
  });
  using wild = callback({ parameters: ["cstring"] }, () => {});
  using call = dlopen(callsPath, { cx_back_u64: { parameters: ["function", "address"] } });
  const error = exceptionOf(() => call.symbols.cx_back_u64(wild, 0x20n));
  assert.equal(error.info.address, 0x20n);
  let none: unknown = 1;
  using empty = callback({ parameters: ["cstring"] }, (value) => none = value);
  call.symbols.cx_back_u64(empty, 0n);
  assert.equal(none, null);
});

test("callback() compares for qsort", () => {
  using libc = dlopen("libc.so.6", {
    qsort: { parameters: ["buffer", "usize", "usize", "function"] },
  });
  const numbers = Int32Array.from({ length: 10_000 }, (_, i) => Math.imul(i, 0x9e3779b1) | 0);
  const expected = numbers.slice().sort();
  const view = new DataView(numbers.buffer);
  const start = addressOfFirst(numbers);
  let calls = 0;
  using compare = callback({ parameters: ["address", "address"], result: "i32" }, (a, b) => {
    calls++;
    const at = (address: bigint): number => view.getInt32(Number(address - start), true);
    return inside(a) && inside(b) ? Math.sign(at(a) - at(b)) : Math.sign(Number(a - b));
  });
  function inside(address: bigint): boolean {
    return address >= start && address < start + 40_000n;
  }
  libc.symbols.qsort(numbers.subarray(0, 2), 2, 4, compare);
  assert.ok(calls > 0);
  // glibc's qsort works on a copy of its own: the comparator has to read that memory.
  using memory = dlopen("libc.so.6", {
    memcpy: { parameters: ["buffer", "address", "usize"], result: "address" },
  });
  const [left, right] = [new Int32Array(1), new Int32Array(1)];
  using reading = callback({ parameters: ["address", "address"], result: "i32" }, (a, b) => {
    memory.symbols.memcpy(left, a, 4);
    memory.symbols.memcpy(right, b, 4);
    return left[0]! < right[0]! ? -1 : left[0]! > right[0]! ? 1 : 0;
  });
  libc.symbols.qsort(numbers, 10_000, 4, reading);
  assert.deepEqual(numbers, expected);
});

function addressOfFirst(view: Int32Array<ArrayBuffer>): bigint {
  using library = dlopen(fixturePath, {
    fx_echo_u64: { parameters: ["buffer"], result: "address" },
  });
  return library.symbols.fx_echo_u64(view);
}

test("callback() that is closed gives 0, and passing it is a TypeError", () => {
  let calls = 0;
  const made = callback({ parameters: ["i32"], result: "i32" }, (value) => {
    calls++;
    return value;
  });
  assert.equal(typeof made.address, "bigint");
  symbols.cx_keep(made.address);
  assert.equal(symbols.cx_call_kept(5), 5);
  made.close();
  made.close();
  made[Symbol.dispose]();
  assert.equal(symbols.cx_call_kept(5), 0);
  assert.equal(calls, 1);
  assert.throws(() => symbols.cx_back_i32(made, 1), {
    name: "TypeError",
    message: /cx_back_i32\(\) of .*argument 1 of 2 \(function\).*callback.*open/,
  });
  assert.equal(calls, 1);
});

test("callback() may close itself while it runs", () => {
  let calls = 0;
  const made: Callback = callback({ parameters: ["i32"], result: "i32" }, (value) => {
    calls++;
    if (value === 2) made.close();
    return value + 10;
  });
  const results = new Int32Array(6);
  symbols.cx_back_each(made, results, 6);
  assert.deepEqual([...results], [10, 11, 12, 0, 0, 0]);
  assert.equal(calls, 3);
});

test("callback() closes at the end of its block with `using`", () => {
  let outer: Callback;
  {
    using made = callback({ parameters: ["i32"], result: "i32" }, (value) => value);
    outer = made;
    assert.equal(symbols.cx_back_i32(made, 3), 3);
  }
  assert.throws(() => symbols.cx_back_i32(outer, 3), TypeError);
});

test("callback() refuses wrong definitions, types and bodies", () => {
  const wrong: [unknown, RegExp][] = [
    [undefined, /definition is not an object/],
    [null, /definition is not an object/],
    [["i32"], /definition is not an object/],
    [{ parameters: "i32" }, /parameters are not an array/],
    [{ parameters: ["i33"] }, /parameter 1 has the type "i33"/],
    [{ parameters: ["i32", "void"] }, /parameter 2 has the type "void"/],
    [{ parameters: [, "i32"] }, /parameter 1 has the type undefined/],
    [{ result: "text" }, /result has the type "text"/],
    [{ name: "f" }, /property "name"/],
    [{ nonblocking: true }, /property "nonblocking"/],
    [{ signals: [] }, /property "signals"/],
  ];
  for (const [definition, message] of wrong) {
    assert.throws(() => callback(definition as never, () => 0), { name: "TypeError", message });
  }
  for (const body of [undefined, null, 5, "f", {}]) {
    assert.throws(() => callback({}, body as never), { name: "TypeError", message: /function/ });
  }
});

test("callback() can be made and closed thousands of times", () => {
  for (let round = 0; round < 3000; round++) {
    using made = callback({ parameters: ["i32"], result: "i32" }, (value) => value + round);
    if (round % 100 === 0) assert.equal(symbols.cx_back_i32(made, 1), round + 1);
  }
});

test("callback() works through a fault after it returned, and one beside it", () => {
  using made = callback({ parameters: ["i32"], result: "i32" }, (value) => value);
  for (let round = 0; round < 100; round++) {
    const error = exceptionOf(() => symbols.cx_back_and_read(made, 1, 0x40n));
    assert.equal(error.info.address, 0x40n);
    assert.equal(error.info.call?.symbol, "cx_back_and_read");
    assert.equal(symbols.cx_back_i32(made, round), round);
  }
});

for (const name of ["tooMany", "oldestFirst", "notCollected", "buffersKept"]) {
  test(`callback() in a process of its own: ${name}`, () => callsPass("callbacks", name));
}

test("callback() names the flag that Deno needs", {
  skip: runtimeName() === "bun" ? "Bun has no permissions" : false,
}, () => {
  const allowed = [nativePath(), callsPath].join(",");
  const flags = [`--allow-ffi=${allowed}`, "--allow-read", "--allow-env"];
  const result = runChild("../children_calls/callbacks", ["scopedPermission"], flags);
  assert.equal(result.stdout, "passed\n", JSON.stringify(result));
});
