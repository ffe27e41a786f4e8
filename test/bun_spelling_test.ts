import { strict as assert } from "node:assert";
import { after, describe, test } from "node:test";
import { dlopen } from "../mod.ts";
import {
  bunFfi,
  exceptionOf,
  fixturePath,
  missingPath,
  rawCallback,
  refusal,
} from "./foreign_support.ts";

const library = dlopen(fixturePath, {
  address: { name: "fx_echo_u64", parameters: ["buffer"], result: "address" },
  pointer: { name: "fx_echo_u64", parameters: ["buffer"], result: "pointer" },
  function: { name: "fx_echo_i32", type: "address" },
  divide: { name: "fx_divide", type: "address" },
});
const { symbols } = library;
after(() => library.close());

// deno-lint-ignore no-explicit-any
type Call = (...args: any[]) => any;

/** Opens one function of the fixture in Bun's spelling. */
function open(
  name: string,
  args: readonly (string | number)[],
  returns: string | number,
): { call: Call } & Disposable {
  const opened = dlopen(fixturePath, { [name]: { args, returns } });
  return { call: opened.symbols[name] as Call, [Symbol.dispose]: () => opened.close() };
}

/** What each integer type does to 64 bits that pass through it. */
const integers: readonly (readonly [readonly (string | number)[], bigint, unknown])[] = [
  [["i8", "int8_t", "char", 0, 1], 0xffn, -1],
  [["u8", "uint8_t", 2], 0x1ffn, 255],
  [["i16", "int16_t", 3], 0xffffn, -1],
  [["u16", "uint16_t", 4], 0x1ffffn, 65_535],
  [["i32", "int32_t", "int", "c_int", 5], 0xffff_ffffn, -1],
  [["u32", "uint32_t", "c_uint", 6], 0x1_ffff_ffffn, 4_294_967_295],
  [["i64", "int64_t", "isize", 7], 2n ** 64n - 1n, -1n],
  [["u64", "uint64_t", "usize", "size_t", 8], 2n ** 64n - 1n, 2n ** 64n - 1n],
  [["bool", 11], 0x1n, true],
  [["bool", 11], 0x100n, false],
];

describe("a result in Bun's spelling", () => {
  test("has the width and the sign of its type, by name and by number", () => {
    for (const [types, bits, expected] of integers) {
      for (const type of types) {
        using echo = open("fx_echo_u64", ["u64"], type);
        assert.equal(echo.call(bits), expected, String(type));
      }
    }
  });

  test("may be a floating-point number", () => {
    for (const type of ["f64", "double", 9]) {
      using echo = open("fx_echo_f64", [type], type);
      assert.equal(echo.call(0.1), 0.1, String(type));
    }
    for (const type of ["f32", "float", 10]) {
      using echo = open("fx_echo_f32", [type], type);
      assert.equal(echo.call(0.1), Math.fround(0.1), String(type));
    }
  });

  test("is undefined for void, and where none is named", () => {
    for (const type of ["void", 13]) {
      using note = open("fx_note", ["u64"], type);
      assert.equal(note.call(1), undefined);
    }
    using opened = dlopen(fixturePath, {
      fx_note: { args: ["u64"] },
      fx_noted: { returns: "u64" },
    });
    const before = opened.symbols.fx_noted() as bigint;
    assert.equal(opened.symbols.fx_note(1), undefined);
    assert.equal(opened.symbols.fx_noted(), before + 1n);
  });

  test("of u64 is a bigint, small or not", () => {
    using echo = open("fx_echo_u64", ["u64"], "u64");
    assert.equal(echo.call(5), 5n);
    assert.equal(echo.call(5n), 5n);
  });

  test("of a pointer type is a pointer of the runtime, null for address 0", () => {
    const memory = new Uint8Array(8);
    for (const type of ["ptr", "pointer", "void*", "char*", "function", "callback", "fn", 12, 17]) {
      using echo = open("fx_echo_u64", ["ptr"], type);
      assert.equal(typeof echo.call(memory), typeof symbols.pointer(memory), String(type));
      assert.equal(echo.call(null), null, String(type));
    }
    for (const type of ["buffer", 20]) {
      using echo = open("fx_echo_u64", ["buffer"], type);
      assert.equal(typeof echo.call(memory), typeof symbols.pointer(memory));
      assert.equal(echo.call(null), null);
    }
  });

  test("of cstring is a string or null, and no object", () => {
    for (const type of ["cstring", 14]) {
      using echo = open("fx_echo_u64", ["buffer"], type);
      const bytes = new Uint8Array([0xef, 0xbb, 0xbf, 0x61, 0xff, 0]);
      assert.equal(echo.call(bytes), "\ufeffa\ufffd");
      assert.equal(echo.call(null), null);
    }
    using read = open("fx_echo_u64", ["u64"], "cstring");
    const { code, info } = exceptionOf(() => read.call(16));
    assert.deepEqual([code, info.call?.symbol], ["SEGV_MAPERR", "fx_echo_u64"]);
  });
});

describe("i64_fast and u64_fast", () => {
  const unsigned: readonly (readonly [bigint, number | bigint])[] = [
    [0n, 0],
    [1n, 1],
    [2n ** 31n, 2 ** 31],
    [2n ** 32n - 1n, 2 ** 32 - 1],
    [2n ** 32n, 2 ** 32],
    [2n ** 32n + 1n, 2 ** 32 + 1],
    [2n ** 53n - 1n, 2 ** 53 - 1],
    [2n ** 53n, 2n ** 53n],
    [2n ** 53n + 1n, 2n ** 53n + 1n],
    [2n ** 54n - 1n, 2n ** 54n - 1n],
    [2n ** 63n - 1n, 2n ** 63n - 1n],
    [2n ** 63n, 2n ** 63n],
    [2n ** 64n - 1n, 2n ** 64n - 1n],
  ];

  test("give a number where that is exact, else a bigint", () => {
    for (const type of ["u64_fast", 16]) {
      using echo = open("fx_echo_u64", [type], type);
      for (const [bits, expected] of unsigned) assert.equal(echo.call(bits), expected);
    }
    for (const type of ["i64_fast", 15]) {
      using echo = open("fx_echo_i64", [type], type);
      for (const [bits, expected] of unsigned.filter(([value]) => value < 2n ** 63n)) {
        assert.equal(echo.call(bits), expected);
        // A sum with 0, because -0 is another value to assert.equal.
        assert.equal(echo.call(-bits), typeof expected === "number" ? 0 - expected : -expected);
      }
      assert.equal(echo.call(2n ** 64n - 1n), -1);
      assert.equal(echo.call(2n ** 63n), -(2n ** 63n));
      assert.ok(Object.is(echo.call(0), 0));
    }
  });

  test("take numbers and bigints, as i64 and u64 do", () => {
    using echo = open("fx_echo_i64", ["i64_fast"], "i64_fast");
    assert.equal(echo.call(-5), -5);
    assert.equal(echo.call(-5n), -5);
    assert.equal(echo.call(1.9), 1);
    assert.equal(echo.call(NaN), 0);
    assert.throws(() => echo.call("5"), TypeError);
    assert.throws(() => echo.call(true), TypeError);
  });

  test("stay right once the caller is optimized", () => {
    using echo = open("fx_echo_u64", ["u64_fast"], "u64_fast");
    let sum = 0;
    for (let i = 0; i < 200_000; i++) sum += echo.call(i) as number;
    assert.equal(sum, 199_999 * 100_000);
    assert.equal(echo.call(2n ** 60n), 2n ** 60n);
  });
});

describe("an argument in Bun's spelling", () => {
  test("is checked as in Deno's spelling, on both runtimes", () => {
    const refusedBy: readonly (readonly [string | number, readonly unknown[]])[] = [
      ["int", ["1", 1n, true, null, undefined, {}]],
      ["char", ["a", 1n]],
      [5, ["1", 1n]],
      ["double", ["1", 1n, null]],
      ["bool", [0, 1, "true", null, undefined]],
      ["u64", ["1", true, null, undefined, 1.5.toString()]],
      ["ptr", ["a", 1n, true, undefined, -1]],
      ["cstring", [1, 1n, true, undefined, {}]],
      ["buffer", ["a", 1, 1n, undefined, {}]],
      ["fn", ["a", 1n, undefined, () => {}]],
    ];
    for (const [type, values] of refusedBy) {
      using note = open("fx_note", [type], "void");
      for (const value of values) {
        assert.throws(() => note.call(value), TypeError, `${type} ${String(value)}`);
      }
      assert.throws(() => note.call(), TypeError);
    }
  });

  test("wraps, and is extended", () => {
    using char = open("fx_echo_i8", ["char"], "char");
    assert.equal(char.call(200), -56);
    using raw = open("fx_raw_register", ["char"], "u64");
    assert.equal(raw.call(-1), 0xffff_ffffn);
    using int = open("fx_echo_i32", ["int"], "int");
    assert.equal(int.call(2 ** 31), -(2 ** 31));
    assert.equal(int.call(1.9), 1);
    using unsigned = open("fx_raw_register", ["uint8_t"], "u64");
    assert.equal(unsigned.call(-1), 255n);
  });

  test("may be memory, a pointer or null where it is a pointer", () => {
    const memory = new Uint8Array(8);
    const address = symbols.address(memory);
    for (const type of ["ptr", "pointer", "void*", "char*", 12]) {
      using echo = open("fx_echo_u64", [type], "u64");
      assert.equal(echo.call(memory), address, String(type));
      assert.equal(echo.call(memory.subarray(3)), address + 3n);
      assert.equal(echo.call(symbols.pointer(memory)), address);
      assert.equal(echo.call(null), 0n);
    }
    const shared = new Uint8Array(new SharedArrayBuffer(8));
    using echo = open("fx_echo_u64", ["buffer"], "u64");
    assert.equal(echo.call(shared.subarray(1)), symbols.address(shared) + 1n);
  });

  test("may be a string where it is a cstring", () => {
    using length = open("fx_string_length", ["cstring"], "i64_fast");
    assert.equal(length.call("Grüße"), 7);
    assert.equal(length.call(new Uint8Array([0x61, 0])), 1);
    assert.equal(length.call(null), -1);
    assert.throws(() => length.call("a\0b"), TypeError);
  });

  test("may be a function", () => {
    const callback = rawCallback((value) => value * 2);
    for (const type of ["function", "callback", "fn", 17]) {
      using call = open("fx_callback", [type, "int"], "int");
      assert.equal(call.call(callback.pointer, 20), 41, String(type));
    }
    callback.close();
  });

  test("reaches its own register among others", () => {
    using mix = open(
      "fx_mix",
      [
        "char",
        "uint16_t",
        "int",
        "c_uint",
        "i64_fast",
        "size_t",
        "float",
        "double",
        "f64",
        10,
        9,
        "double",
        9,
        "f64",
      ],
      "double",
    );
    const values = [-1, 2, -3, 4, -5, 6n, 7, 8, 9, 10, 11, 12, 13, 14];
    const weights = [1, 2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41];
    const sum = values.reduce<number>((all, value, at) => all + Number(value) * weights[at]!, 0);
    assert.equal(mix.call(...values), sum);
  });
});

describe("ptr in a definition", () => {
  const at = (ptr: unknown): { absent: { args: string[]; returns: string; ptr: number } } => ({
    absent: { args: ["i32"], returns: "i32", ptr: ptr as number },
  });

  test("means at this address, a number or a bigint, without a look-up", () => {
    for (const ptr of [symbols.function, Number(symbols.function)]) {
      using opened = dlopen(fixturePath, at(ptr));
      assert.equal(opened.symbols.absent(-7), -7);
    }
    using alone = dlopen(fixturePath, { "not a symbol\0": { ptr: symbols.function } });
    assert.equal(alone.symbols["not a symbol\0"](), undefined);
  });

  test("is guarded, and named by its key", () => {
    using opened = dlopen(fixturePath, {
      ratio: { args: ["int", "int"], returns: "int", ptr: symbols.divide },
    });
    assert.equal(opened.symbols.ratio(7, 2), 3);
    const { code, info } = exceptionOf(() => opened.symbols.ratio(1, 0));
    assert.deepEqual([code, info.call?.symbol], ["FPE_INTDIV", "ratio"]);
    assert.equal(opened.exceptionCount, 1);
  });

  test("stands among symbols that are looked up", () => {
    using opened = dlopen(fixturePath, {
      fx_echo_i32: { args: ["i32"], returns: "i32" },
      first: { args: ["int", "int"], returns: "int", ptr: symbols.divide },
      fx_static_u8: { type: "u8" },
      second: { args: ["i32"], returns: "i32", ptr: symbols.function },
      gone: { parameters: [], optional: true },
      fx_echo_u64: { parameters: ["u64"], result: "u64" },
    });
    const { symbols: s } = opened;
    assert.deepEqual(
      [s.fx_echo_i32(-1), s.first(9, 3), s.fx_static_u8, s.second(-2), s.gone, s.fx_echo_u64(3)],
      [-1, 3, 255, -2, undefined, 3n],
    );
  });

  test("needs an address", () => {
    const wrong = [0, 0n, -1, -1n, 1.5, NaN, 2 ** 53, 2n ** 64n, null, "1", {}, new Uint8Array(8)];
    for (const ptr of wrong) assert.match(refusal(at(ptr)), /absent\(\) of .*ptr/, String(ptr));
  });

  test("still needs the library", () => {
    assert.throws(() => dlopen(missingPath, at(1n)), { code: "LIBRARY_NOT_FOUND" });
  });
});

describe("a definition in Bun's spelling that is wrong", () => {
  test("names a type of Node-API or buffer_length, and the symbol", () => {
    const types = ["napi_env", "napi_value", "buffer_length", "buffer_bytelength", 18, 19, 21];
    for (const type of types) {
      const name = { 18: "napi_env", 19: "napi_value", 21: "buffer_length" }[type] ?? String(type);
      for (const definition of [{ args: ["ptr", type] }, { returns: type }]) {
        const message = refusal({ f: definition });
        assert.match(message, /^Cannot define f\(\) of .*no_such_library/);
        assert.ok(message.includes(name), message);
        assert.doesNotMatch(message, /not supported/);
      }
      assert.match(refusal({ f: { args: ["ptr", type] } }), /argument 2/);
      assert.match(refusal({ f: { returns: type } }), /its result/);
    }
  });

  test("names a type that is not known, and the symbol", () => {
    const types = [
      "",
      "Int",
      "long",
      "unsigned int",
      "char *",
      "5",
      "toString",
      "__proto__",
      " i32",
    ];
    for (const type of types) {
      for (const definition of [{ args: [type] }, { returns: type }]) {
        const message = refusal({ f: definition });
        assert.ok(message.includes(`f() of ${missingPath}`), message);
        assert.ok(message.includes(JSON.stringify(type)), message);
      }
    }
    for (const type of [-1, 22, 1.5, NaN, 5n, null, {}, [], true, Symbol.iterator]) {
      assert.match(refusal({ f: { args: [type] } }), /f\(\) of .*argument 1/, String(type));
      assert.match(refusal({ f: { returns: type } }), /f\(\) of .*result/, String(type));
    }
  });

  test("void is a result only", () => {
    for (const type of ["void", 13]) {
      assert.match(refusal({ f: { args: [type] } }), /f\(\) of .*argument 1 .*void/);
    }
  });

  test("args is an array without holes", () => {
    for (const args of [null, "int", 5, {}, new Uint8Array([5])]) {
      assert.match(refusal({ f: { args } }), /f\(\) of .*args/);
    }
    const holes = ["int", "int", "int"];
    delete holes[1];
    assert.match(refusal({ f: { args: holes } }), /f\(\) of .*argument 2/);
  });

  test("may not be mixed with Deno's spelling", () => {
    const both: readonly object[] = [
      { args: [], result: "i32" },
      { args: [], parameters: [] },
      { returns: "i32", parameters: [] },
      { ptr: 1n, parameters: [] },
      { ptr: 1n, result: "i32" },
      { args: [], name: "g" },
      { args: [], optional: true },
    ];
    for (const definition of both) {
      const message = refusal({ f: definition });
      assert.match(message, /f\(\) of .*no_such_library/);
      assert.match(message, /mixes/);
      for (const name of Object.keys(definition)) assert.ok(message.includes(`"${name}"`), message);
    }
  });

  test("may not have properties that are not known", () => {
    assert.match(refusal({ f: { args: [], Returns: "i32" } }), /f\(\) of .*"Returns"/);
    assert.match(refusal({ f: { args: [], threadsafe: true } }), /"threadsafe"/);
  });

  test("a missing symbol is SYMBOL_NOT_FOUND", () => {
    const missing = { fx_no_such_function: { args: [] } };
    assert.throws(() => dlopen(fixturePath, missing), { code: "SYMBOL_NOT_FOUND" });
  });

  test("a name of Bun's in Deno's spelling is refused", () => {
    for (const type of ["int", "ptr", "char", "i64_fast", 5]) {
      assert.match(refusal({ f: { parameters: [type] } }), /f\(\) of /);
      assert.match(refusal({ f: { result: type } }), /f\(\) of /);
    }
  });
});

test("options of a call work in Bun's spelling", () => {
  using opened = dlopen(fixturePath, {
    fx_raise: { args: ["u32"], returns: "int", signals: ["SIGABRT"] },
  });
  assert.equal(exceptionOf(() => opened.symbols.fx_raise(6)).info.signal, "SIGABRT");
  assert.match(refusal({ f: { args: [], signals: ["SIGKILL"] } }), /SIGKILL/);
});

test("every member of Bun's FFIType is accepted or refused by name", {
  skip: bunFfi() === null ? "needs bun:ffi" : false,
}, () => {
  const unsupported = ["napi_env", "napi_value", "buffer_length", "buffer_bytelength"];
  for (const [name, number] of Object.entries(bunFfi()!.FFIType)) {
    const spellings = /^\d+$/.test(name) ? [number] : [name, number];
    for (const type of spellings) {
      if (unsupported.includes(name)) {
        assert.doesNotMatch(refusal({ f: { returns: type } }), /not supported/);
        continue;
      }
      // The library is missing, so that only the definition is read.
      assert.throws(() => dlopen(missingPath, { f: { returns: type } }), {
        code: "LIBRARY_NOT_FOUND",
      });
    }
  }
});

test("a number means the same as the name that Bun gives it", {
  skip: bunFfi() === null ? "needs bun:ffi" : false,
}, () => {
  const { FFIType } = bunFfi()!;
  const scalars = ["char", "i8", "u8", "i16", "u16", "i32", "u32", "i64", "u64", "bool", "isize"];
  scalars.push("int", "c_int", "c_uint", "usize", "size_t", "i64_fast", "u64_fast", "uint8_t");
  for (const name of scalars.filter((one) => one in FFIType)) {
    using byName = open("fx_echo_u64", ["u64"], name);
    using byNumber = open("fx_echo_u64", ["u64"], FFIType[name]!);
    for (const bits of [0n, 1n, 0x80n, 0xffn, 0x8000n, 0xffff_ffffn, 2n ** 63n, 2n ** 64n - 1n]) {
      assert.equal(byNumber.call(bits), byName.call(bits), `${name} ${bits}`);
    }
  }
});
