/** Values that go into guarded calls and come out of them. */
import { strict as assert } from "node:assert";
import { copyFileSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, relative } from "node:path";
import process from "node:process";
import { test } from "node:test";
import { pathToFileURL } from "node:url";
import { dlopen, type NativeType } from "../mod.ts";
import { exceptionOf, fixturePath, runChild, runtimeName } from "./support.ts";

const lib = dlopen(fixturePath, {
  fx_echo_bool: { parameters: ["bool"], result: "bool" },
  fx_echo_i8: { parameters: ["i8"], result: "i8" },
  fx_echo_u8: { parameters: ["u8"], result: "u8" },
  fx_echo_i16: { parameters: ["i16"], result: "i16" },
  fx_echo_u16: { parameters: ["u16"], result: "u16" },
  fx_echo_i32: { parameters: ["i32"], result: "i32" },
  fx_echo_u32: { parameters: ["u32"], result: "u32" },
  fx_echo_i64: { parameters: ["i64"], result: "i64" },
  fx_echo_u64: { parameters: ["u64"], result: "u64" },
  isize: { name: "fx_echo_i64", parameters: ["isize"], result: "isize" },
  usize: { name: "fx_echo_u64", parameters: ["usize"], result: "usize" },
  address: { name: "fx_echo_u64", parameters: ["address"], result: "address" },
  fx_echo_f32: { parameters: ["f32"], result: "f32" },
  fx_echo_f64: { parameters: ["f64"], result: "f64" },
  fx_mix: {
    parameters: [
      ...["i8", "u16", "i32", "u32", "i64", "u64"] as const,
      ...["f32", "f64", "f64", "f32", "f64", "f64", "f64", "f64"] as const,
    ],
    result: "f64",
  },
  fx_sum_bytes: { parameters: ["buffer", "u64"], result: "u64" },
  fx_read: { parameters: ["address"], result: "u64" },
});
const { symbols } = lib;

type Integer = "i8" | "u8" | "i16" | "u16" | "i32" | "u32";

/** What a typed array makes of a number, which is what a call has to make of it. */
const arrays: Readonly<Record<Integer, (value: number) => number>> = {
  i8: (value) => Int8Array.of(value)[0]!,
  u8: (value) => Uint8Array.of(value)[0]!,
  i16: (value) => Int16Array.of(value)[0]!,
  u16: (value) => Uint16Array.of(value)[0]!,
  i32: (value) => Int32Array.of(value)[0]!,
  u32: (value) => Uint32Array.of(value)[0]!,
};
const integers = Object.keys(arrays) as Integer[];

const awkward = [
  ...[0, -0, 1, -1, 0.5, -0.5, 1.99, -1.99, NaN, Infinity, -Infinity],
  ...[127, 128, -128, -129, 255, 256, 32767, 32768, -32768, -32769, 65535, 65536],
  ...[2 ** 31 - 1, 2 ** 31, -(2 ** 31), -(2 ** 31) - 1, 2 ** 32 - 1, 2 ** 32, 2 ** 32 + 5],
  ...[2 ** 53, -(2 ** 53), 2 ** 53 + 2, 2 ** 63, 2 ** 64, 1e20, -1e20, Number.MAX_VALUE, 5e-324],
];

for (const type of integers) {
  test(`dlopen() wraps ${type} arguments as a typed array does`, () => {
    const echo = symbols[`fx_echo_${type}`];
    for (const value of awkward) {
      assert.equal(echo(value), arrays[type](value), `${type} of ${value}`);
    }
  });
}

test("dlopen() extends narrow arguments to 32 bits, as their signs demand", () => {
  const as = (type: NativeType): (value: unknown) => bigint => {
    const definition = { parameters: [type], result: "u64" } as const;
    return dlopen(fixturePath, { fx_raw_register: definition }).symbols.fx_raw_register as never;
  };
  const word = (value: number): bigint => BigInt.asUintN(32, BigInt(value));
  for (const type of ["i8", "u8", "i16", "u16"] as const) {
    const raw = as(type);
    for (const value of awkward) {
      assert.equal(raw(value), word(arrays[type](value)), `${type} of ${value}`);
    }
  }
  assert.equal(as("bool")(true), 1n);
  assert.equal(as("bool")(false), 0n);
});

test("dlopen() reads only a narrow result's own bits", () => {
  const result = (type: NativeType): unknown => {
    using dirty = dlopen(fixturePath, { fx_dirty_result: { result: type } });
    return dirty.symbols.fx_dirty_result();
  };
  // The register holds 0xdeadbeefcafe0000.
  assert.equal(result("bool"), false);
  for (const type of ["i8", "u8", "i16", "u16"] as const) assert.equal(result(type), 0, type);
  assert.equal(result("i32"), 0xcafe0000 | 0);
  assert.equal(result("u32"), 0xcafe0000);
  assert.equal(result("u64"), 0xdeadbeefcafe0000n);
  assert.equal(result("i64"), BigInt.asIntN(64, 0xdeadbeefcafe0000n));
  assert.equal(result("void"), undefined);
});

test("dlopen() passes bool both ways", () => {
  assert.equal(symbols.fx_echo_bool(true), true);
  assert.equal(symbols.fx_echo_bool(false), false);
  const low = dlopen(fixturePath, {
    fx_echo_u8: { parameters: ["u8"], result: "bool" },
  });
  for (const value of [1, 2, 128, 255]) assert.equal(low.symbols.fx_echo_u8(value), true);
  assert.equal(low.symbols.fx_echo_u8(0), false);
  low.close();
});

/** What 64 bits make of a number: its whole part, modulo 2^64. */
function wide(value: number): bigint {
  return Number.isFinite(value) ? BigInt(Math.trunc(value)) : 0n;
}

for (
  const [type, echo, wrap] of [
    ["i64", symbols.fx_echo_i64, BigInt.asIntN],
    ["isize", symbols.isize, BigInt.asIntN],
    ["u64", symbols.fx_echo_u64, BigInt.asUintN],
    ["usize", symbols.usize, BigInt.asUintN],
  ] as const
) {
  test(`dlopen() takes numbers and bigints for ${type}, and returns bigints`, () => {
    for (const value of awkward) {
      assert.equal(echo(value), wrap(64, wide(value)), `${type} of ${value}`);
    }
    const edges = [0n, 1n, -1n, 2n ** 31n, 2n ** 53n, 2n ** 53n + 1n, 2n ** 63n - 1n, 2n ** 63n];
    const beyond = [-(2n ** 63n), 2n ** 64n - 1n, 2n ** 64n, 2n ** 64n + 7n, -(2n ** 64n) - 7n];
    for (const value of [...edges, ...beyond, 2n ** 200n + 9n]) {
      assert.equal(echo(value), wrap(64, value), `${type} of ${value}n`);
    }
  });
}

test("dlopen() takes an address from 0n to 2n ** 64n - 1n, or null", () => {
  for (const value of [0n, 1n, 2n ** 47n, 2n ** 63n, 2n ** 64n - 1n]) {
    assert.equal(symbols.address(value), value);
  }
  assert.equal(symbols.address(null), 0n);
  for (const value of [-1n, -(2n ** 63n), 2n ** 64n, 2n ** 65n]) {
    assert.throws(() => symbols.address(value), {
      name: "RangeError",
      message: /fx_echo_u64\(\) of .*fixture\.so as its argument 1 of 1 \(address\) .*2n \*\* 64n/,
    });
  }
  assert.equal(symbols.address(5n), 5n);
});

test("dlopen() passes floating-point numbers, rounded to f32 where that is the type", () => {
  const values = [0, -0, 1.5, -1.5, 0.1, 1 / 3, 1e38, 1e39, 5e-324, NaN, Infinity, -Infinity];
  for (const value of [...values, Number.MAX_VALUE, 2 ** 53, 16777217]) {
    assert.ok(Object.is(symbols.fx_echo_f64(value), value), `f64 of ${value}`);
    assert.ok(Object.is(symbols.fx_echo_f32(value), Math.fround(value)), `f32 of ${value}`);
  }
});

test("dlopen() passes 14 arguments of mixed types, each to its own register", () => {
  const call = (f: number): number =>
    symbols.fx_mix(-1, 2, -3, 4, -5n, 6n, 0.5, 1.5, -2.5, 4.5, f, 6.5, -7.5, 8.5);
  const expected = (f: number): number =>
    -1 + 2 * 2 - 3 * 3 + 5 * 4 - 7 * 5 + 11 * 6 + 13 * 0.5 + 17 * 1.5 - 19 * 2.5 + 23 * 4.5 +
    29 * f + 31 * 6.5 - 37 * 7.5 + 41 * 8.5;
  // Often enough that both runtimes compile the call.
  for (let f = 0; f < 20_000; f++) assert.equal(call(f), expected(f));
});

test("dlopen() passes the first call's arguments intact, though it installs the handlers", () => {
  const { fx_mix } = dlopen(fixturePath, {
    fx_mix: {
      parameters: [
        ...["i8", "u16", "i32", "u32", "i64", "u64"] as const,
        ...["f32", "f64", "f64", "f32", "f64", "f64", "f64", "f64"] as const,
      ],
      result: "f64",
    },
  }).symbols;
  assert.equal(fx_mix(1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1), 239);
});

test("dlopen() ignores extra arguments, so that map() works", () => {
  assert.deepEqual([1, 2].map(symbols.fx_echo_i32), [1, 2]);
  assert.deepEqual([1n, 2n].map(symbols.fx_echo_u64), [1n, 2n]);
  assert.equal((symbols.fx_echo_i32 as (...args: unknown[]) => unknown)(3, "x", null), 3);
});

test("dlopen() gives results of the call itself after an exception", () => {
  for (let round = 0; round < 100; round++) {
    assert.equal(exceptionOf(() => symbols.fx_read(BigInt(round))).info.address, BigInt(round));
    assert.equal(symbols.fx_echo_i32(round), round);
    assert.equal(symbols.fx_echo_f64(round / 8), round / 8);
    assert.equal(symbols.fx_echo_u64(round), BigInt(round));
  }
});

test("dlopen() keeps the order of the definitions, missing ones included", () => {
  using library = dlopen(fixturePath, {
    zebra: { name: "fx_noted", result: "u64" },
    fx_missing: { optional: true },
    alpha: { name: "fx_echo_i32", parameters: ["i32"], result: "i32" },
    fx_missing_too: { optional: true, parameters: ["i32"] },
    fx_ud2: { optional: true },
  });
  const names = ["zebra", "fx_missing", "alpha", "fx_missing_too", "fx_ud2"];
  assert.deepEqual(Object.keys(library.symbols), names);
  assert.equal(library.symbols.fx_missing, undefined);
  assert.equal(library.symbols.fx_missing_too, undefined);
  assert.equal(typeof library.symbols.fx_ud2, "function");
  assert.equal(library.symbols.alpha(7), 7);
});

test("dlopen() names each function as the library does", () => {
  assert.equal(symbols.fx_echo_i32.name, "fx_echo_i32");
  assert.equal(symbols.address.name, "fx_echo_u64");
});

test("dlopen() takes any key, with `name` to say what is meant", () => {
  const echo = { name: "fx_echo_i32", parameters: ["i32"], result: "i32" } as const;
  const keys = [
    "constructor",
    "__proto__",
    "a-b",
    "class",
    "toString",
    "0",
    "'); throw 1; ('",
    "\u2028",
  ];
  using library = dlopen(fixturePath, Object.fromEntries(keys.map((key) => [key, echo])));
  assert.deepEqual(Object.keys(library.symbols).sort(), [...keys].sort());
  for (const key of keys) assert.equal(library.symbols[key]!(5), 5, key);
});

test("dlopen() takes no definition at all", () => {
  using library = dlopen(fixturePath, {});
  assert.deepEqual(Object.keys(library.symbols), []);
  assert.equal(library.exceptionCount, 0);
});

test("dlopen() takes a name that the loader searches, and a file URL", () => {
  using libm = dlopen("libm.so.6", { cos: { parameters: ["f64"], result: "f64" } });
  assert.equal(libm.symbols.cos(0), 1);
  using byPath = dlopen(relative(process.cwd(), fixturePath), {
    fx_echo_i32: { parameters: ["i32"], result: "i32" },
  });
  assert.equal(byPath.symbols.fx_echo_i32(-8), -8);
  using byUrl = dlopen(new URL(`file://${fixturePath}`), {
    fx_echo_i32: { parameters: ["i32"], result: "i32" },
  });
  assert.equal(byUrl.symbols.fx_echo_i32(-9), -9);
});

test("dlopen() takes a path with spaces, percent signs and letters beyond ASCII", () => {
  const folder = mkdtempSync(join(tmpdir(), "faultline-"));
  const path = join(folder, "a b%20c \u00fc\u{1f600}.so");
  copyFileSync(fixturePath, path);
  for (const from of [path, pathToFileURL(path)]) {
    using library = dlopen(from, { fx_ud2: {} });
    const error = exceptionOf(() => library.symbols.fx_ud2());
    assert.equal(error.info.call?.library, path);
    assert.ok(error.message.includes(path));
  }
  rmSync(folder, { recursive: true });
});

test("dlopen() works where code generation from strings is switched off", {
  skip: runtimeName() === "bun" ? "Bun has no such switch" : false,
}, () => {
  const flags = ["--allow-all", "--v8-flags=--disallow-code-generation-from-strings"];
  const { status, stdout, stderr } = runChild("no_code_generation", ["all"], flags);
  assert.deepEqual({ status, stdout, stderr }, { status: 0, stdout: "passed\n", stderr: "" });
});
