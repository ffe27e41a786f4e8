/**
 * What the compiler must accept and refuse. `tsc` checks this file in a stage of its own; running
 * it shows that the types say what the functions do.
 */
import { strict as assert } from "node:assert";
import { test } from "node:test";
import {
  type BunForeignFunction,
  dlopen,
  type ForeignCall,
  type ForeignFunction,
  type ForeignLibrary,
  type ForeignStatic,
  type ForeignSymbols,
  type NativeArgument,
  type NativeBuffer,
  type NativeResult,
  type NativeType,
  type Pointer,
} from "../mod.ts";
import { fixturePath } from "./foreign_support.ts";

/** True when both types are the same, `any` and `unknown` told apart. */
type Same<A, B> = (<T>() => T extends A ? 1 : 2) extends (<T>() => T extends B ? 1 : 2) ? true
  : false;
/** A line that compiles only when the type is true. */
function holds<T extends true>(): T | void {}

const definitions = {
  nothing: { name: "fx_ud2" },
  bool: { name: "fx_echo_bool", parameters: ["bool"], result: "bool" },
  i32: { name: "fx_echo_i32", parameters: ["i32"], result: "i32" },
  f64: { name: "fx_echo_f64", parameters: ["f64"], result: "f64" },
  u64: { name: "fx_echo_u64", parameters: ["u64"], result: "u64" },
  address: { name: "fx_echo_u64", parameters: ["address"], result: "address" },
  pointer: { name: "fx_echo_u64", parameters: ["pointer"], result: "pointer" },
  buffer: { name: "fx_echo_u64", parameters: ["buffer"], result: "buffer" },
  text: { name: "fx_echo_u64", parameters: ["cstring"], result: "cstring" },
  two: { name: "fx_divide", parameters: ["i32", "i32"], result: "i32" },
  maybe: { name: "fx_echo_i32", parameters: ["i32"], result: "i32", optional: true },
  fx_echo_i64: { args: ["i64"], returns: "i64" },
  fx_note: { args: ["u64"] },
  fx_noted: { returns: "u64" },
  small: { name: "fx_static_u8", type: "u8" },
  large: { name: "fx_static_u64", type: "u64" },
  place: { name: "fx_static_u8", type: "pointer" },
  words: { name: "fx_static_text", type: "cstring" },
  absent: { name: "fx_no_such_variable", type: "bool", optional: true },
} as const satisfies ForeignSymbols;

type Symbols = ForeignLibrary<typeof definitions>["symbols"];

test("results have the type that the definition names", () => {
  holds<Same<ReturnType<Symbols["nothing"]>, void>>();
  holds<Same<ReturnType<Symbols["bool"]>, boolean>>();
  holds<Same<ReturnType<Symbols["i32"]>, number>>();
  holds<Same<ReturnType<Symbols["u64"]>, bigint>>();
  holds<Same<ReturnType<Symbols["address"]>, bigint>>();
  holds<Same<ReturnType<Symbols["pointer"]>, Pointer>>();
  holds<Same<ReturnType<Symbols["buffer"]>, Pointer>>();
  holds<Same<ReturnType<Symbols["text"]>, string | null>>();
  using library = dlopen(fixturePath, definitions);
  const { symbols } = library;
  const bool: boolean = symbols.bool(true);
  const number: number = symbols.i32(1);
  const wide: bigint = symbols.u64(1n);
  const address: bigint = symbols.address(null);
  const text: string | null = symbols.text("a");
  assert.deepEqual([bool, number, wide, address, text], [true, 1, 1n, 0n, "a"]);
  // @ts-expect-error: u64 is a bigint, small or not.
  const wrong: number = symbols.u64(1);
  assert.equal(wrong, 1n as unknown);
});

test("arguments have the type that the definition names", () => {
  holds<Same<Parameters<Symbols["nothing"]>, []>>();
  holds<Same<Parameters<Symbols["bool"]>, [boolean]>>();
  holds<Same<Parameters<Symbols["u64"]>, [number | bigint]>>();
  holds<Same<Parameters<Symbols["address"]>, [bigint | null]>>();
  holds<Same<Parameters<Symbols["buffer"]>, [NativeBuffer | null]>>();
  holds<Same<Parameters<Symbols["text"]>, [string | NativeBuffer | null]>>();
  holds<Same<Parameters<Symbols["two"]>, [number, number]>>();
  using library = dlopen(fixturePath, definitions);
  const { symbols } = library;
  assert.equal(symbols.text(new SharedArrayBuffer(1)), "");
  assert.equal(symbols.pointer(null), null);
  // @ts-expect-error: a bigint is no i32.
  assert.throws(() => symbols.i32(1n), TypeError);
  // @ts-expect-error: a string is no number.
  assert.throws(() => symbols.f64("1"), TypeError);
  // @ts-expect-error: a number is no address.
  assert.throws(() => symbols.address(1), TypeError);
  // @ts-expect-error: a number is no boolean.
  assert.throws(() => symbols.bool(1), TypeError);
  // @ts-expect-error: a number is no string.
  assert.throws(() => symbols.text(1), TypeError);
  // @ts-expect-error: a string is no buffer.
  assert.throws(() => symbols.buffer("a"), TypeError);
  // @ts-expect-error: one argument is missing.
  assert.throws(() => symbols.two(1), TypeError);
  // @ts-expect-error: one argument is left over, which runs but is a mistake.
  assert.equal(symbols.i32(1, 2), 1);
});

test("a function in Bun's spelling takes and gives anything", () => {
  // deno-lint-ignore no-explicit-any
  type Anything = (...args: any[]) => any;
  holds<Same<Symbols["fx_echo_i64"], Anything>>();
  holds<Same<Symbols["fx_note"], Anything>>();
  holds<Same<Symbols["fx_noted"], Anything>>();
  holds<Same<ForeignCall<BunForeignFunction & { args: [] }>, Anything>>();
  using library = dlopen(fixturePath, definitions);
  const result: bigint = library.symbols.fx_echo_i64(-1);
  assert.equal(result, -1n);
});

test("statics have the type of their value", () => {
  holds<Same<Symbols["small"], number>>();
  holds<Same<Symbols["large"], bigint>>();
  holds<Same<Symbols["place"], Pointer>>();
  holds<Same<Symbols["words"], string | null>>();
  holds<Same<Symbols["absent"], boolean | undefined>>();
  using library = dlopen(fixturePath, definitions);
  const { small, large, words, absent } = library.symbols;
  assert.deepEqual([small, large, absent], [255, 2n ** 64n - 1n, undefined]);
  assert.equal(typeof words, "string");
  // @ts-expect-error: a variable is no function.
  assert.throws(() => library.symbols.small(), TypeError);
  // @ts-expect-error: what was read at open cannot be written.
  assert.throws(() => library.symbols.small = 1, TypeError);
});

test("what is optional may be undefined", () => {
  holds<Same<Symbols["maybe"], ((a: number) => number) | undefined>>();
  using library = dlopen(fixturePath, definitions);
  // @ts-expect-error: it has to be looked at first.
  const unchecked: number = library.symbols.maybe(3);
  const checked: number | undefined = library.symbols.maybe?.(3);
  assert.deepEqual([unchecked, checked], [3, 3]);
  // @ts-expect-error: only what was defined is there.
  assert.equal(library.symbols.fx_data, undefined);
});

test("definitions are checked where they are written", () => {
  const refused = (body: () => unknown): void => assert.throws(body, TypeError);
  // @ts-expect-error: no such type.
  refused(() => dlopen(fixturePath, { fx_echo_i32: { parameters: ["int"] } }));
  // @ts-expect-error: no such type.
  refused(() => dlopen(fixturePath, { fx_echo_i32: { result: "ptr" } }));
  // @ts-expect-error: no such type.
  refused(() => dlopen(fixturePath, { fx_static_u8: { type: "char" } }));
  // @ts-expect-error: the wrong spelling of the property.
  refused(() => dlopen(fixturePath, { fx_echo_i32: { params: ["i32"] } }));
  // @ts-expect-error: types are named, or numbers of FFIType.
  refused(() => dlopen(fixturePath, { fx_echo_i32: { args: [1n] } }));
  // @ts-expect-error: no such signal.
  refused(() => dlopen(fixturePath, { fx_ud2: { signals: ["SIGKILL"] } }));
});

test("definitions that are made at run time still type-check", () => {
  const types: NativeType[] = ["i32"];
  const definition = { parameters: types, result: "i32" } as const satisfies ForeignFunction;
  const variable: ForeignStatic = { type: "u8" };
  using library = dlopen(fixturePath, { fx_echo_i32: definition, fx_static_u8: variable });
  assert.equal(library.symbols.fx_echo_i32(7), 7);
  assert.equal(library.symbols.fx_static_u8, 255);
  const symbols: ForeignSymbols = { fx_echo_i32: definition };
  using other: ForeignLibrary<ForeignSymbols> = dlopen(fixturePath, symbols);
  assert.deepEqual(Object.keys(other.symbols), ["fx_echo_i32"]);
});

test("a nonblocking call gives a promise", () => {
  type Later = ForeignCall<{ parameters: ["cstring"]; result: "usize"; nonblocking: true }>;
  holds<Same<ReturnType<Later>, Promise<bigint>>>();
  holds<Same<ReturnType<ForeignCall<{ nonblocking: false }>>, void>>();
});

test("NativeArgument and NativeResult cover every type", () => {
  type Numbers = "i8" | "u8" | "i16" | "u16" | "i32" | "u32" | "f32" | "f64";
  type Wide = "i64" | "u64" | "isize" | "usize";
  holds<Same<NativeArgument<Numbers>, number>>();
  holds<Same<NativeResult<Numbers>, number>>();
  holds<Same<NativeArgument<Wide>, number | bigint>>();
  holds<Same<NativeResult<Wide>, bigint>>();
  holds<Same<NativeResult<"void" | undefined>, void>>();
  holds<Same<NativeResult<"function">, Pointer>>();
  holds<Same<NativeArgument<"cstring">, string | NativeBuffer | null>>();
  // @ts-expect-error: the compiler tells a type that is not the same.
  holds<Same<NativeResult<"u64">, number>>();
  const all: Record<NativeType, true> = {
    void: true,
    bool: true,
    i8: true,
    u8: true,
    i16: true,
    u16: true,
    i32: true,
    u32: true,
    i64: true,
    u64: true,
    isize: true,
    usize: true,
    f32: true,
    f64: true,
    pointer: true,
    buffer: true,
    function: true,
    address: true,
    cstring: true,
  };
  assert.equal(Object.keys(all).length, 19);
});
