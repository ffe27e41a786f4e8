/**
 * The types of parameters and results: what JavaScript values they take, how those are converted,
 * and where a result is found. Pure: nothing here touches native code.
 *
 * @module
 */
import type { BrandedCallback } from "./callback_brand.ts";
import { builtin } from "./builtin.ts";
import { keep } from "./kept.ts";
import type { CType } from "./runtime/types.ts";

/**
 * A C type of a parameter, a result or a variable, in Deno's spelling.
 *
 * @example Usage
 * ```ts
 * import { dlopen, type NativeType } from "faultline";
 *
 * const result: NativeType = "cstring";
 * using libc = dlopen("libc.so.6", { strerror: { parameters: ["i32"], result } });
 * console.log(libc.symbols.strerror(2)); // No such file or directory
 * ```
 */
export type NativeType =
  | "void"
  | "bool"
  | "i8"
  | "u8"
  | "i16"
  | "u16"
  | "i32"
  | "u32"
  | "i64"
  | "u64"
  | "isize"
  | "usize"
  | "f32"
  | "f64"
  | "pointer"
  | "buffer"
  | "function"
  /** A bigint in and out on both runtimes. */
  | "address"
  /**
   * In: a string, as NUL-terminated UTF-8 for the time of the call, or memory that holds one. Out:
   * a string or null, read with a recovery point.
   */
  | "cstring";

/**
 * The runtime's own pointer value: a number in Bun, a `Deno.PointerObject` in Deno. Portable code
 * uses "address".
 *
 * @example Usage
 * ```ts
 * import { dlopen, type Pointer } from "faultline";
 *
 * using libc = dlopen("libc.so.6", {
 *   getenv: { parameters: ["cstring"], result: "pointer" },
 *   strlen: { parameters: ["pointer"], result: "usize" },
 * });
 * const path: Pointer = libc.symbols.getenv("PATH");
 * if (path !== null) console.log(libc.symbols.strlen(path) > 0n); // true
 * ```
 */
export type Pointer = number | object | null;

/**
 * Memory of JavaScript that native code may get the address of.
 *
 * @example Usage
 * ```ts
 * import { dlopen, type NativeBuffer } from "faultline";
 *
 * using libc = dlopen("libc.so.6", { memset: { parameters: ["buffer", "i32", "usize"] } });
 * const shared: NativeBuffer = new SharedArrayBuffer(4);
 * libc.symbols.memset(shared, 7, 4);
 * console.log(new Uint8Array(shared).join()); // 7,7,7,7
 * ```
 */
export type NativeBuffer = ArrayBufferView | ArrayBuffer | SharedArrayBuffer;

/**
 * What a parameter of type `T` takes.
 *
 * @example Usage
 * ```ts
 * import type { NativeArgument } from "faultline";
 *
 * const length: NativeArgument<"usize"> = 3n;
 * const name: NativeArgument<"cstring"> = "PATH";
 * console.log(length, name);
 * ```
 */
export type NativeArgument<T> = T extends "bool" ? boolean
  : T extends "i64" | "u64" | "isize" | "usize" ? number | bigint
  : T extends "address" ? bigint | null
  : T extends "pointer" | "function" ? Pointer | NativeBuffer | BrandedCallback
  : T extends "buffer" ? NativeBuffer | null
  : T extends "cstring" ? string | NativeBuffer | null
  : number;

/**
 * What a result of type `T` gives.
 *
 * @example Usage
 * ```ts
 * import type { NativeResult } from "faultline";
 *
 * const text: NativeResult<"cstring"> = null;
 * const length: NativeResult<"usize"> = 3n;
 * console.log(text, length);
 * ```
 */
export type NativeResult<T> = T extends "void" | undefined ? void
  : T extends "bool" ? boolean
  : T extends "i64" | "u64" | "isize" | "usize" | "address" ? bigint
  : T extends "pointer" | "function" | "buffer" ? Pointer
  : T extends "cstring" ? string | null
  : number;

/** What of the runtime the conversions need. */
export interface PointerConversions {
  isPointer(value: unknown): boolean;
  pointerTo(view: ArrayBufferView): unknown;
  pointerFrom(address: bigint): unknown;
  /** The barrier in front of a function: recovery must not cross what it runs. */
  barrierOf(pointer: unknown): unknown;
  /** The pointer of a callback; undefined for other values. A closed one: `TypeError`. */
  callbackPointer(value: unknown): unknown;
  /** The value for a `buffer` parameter. */
  bufferArgument(view: ArrayBufferView): unknown;
}

/**
 * How one type is passed. `test` and `inline` are source text for generated wrappers; `inline` gets
 * the name of a function that does what `convert` does.
 */
export interface ParameterCodec {
  /** What crosses the boundary. */
  readonly ctype: CType;
  readonly register: "integer" | "float";
  /** True for values that `inline` converts; null when `convert` is called. */
  readonly test: ((name: string) => string) | null;
  readonly inline: ((name: string, convert: string) => string) | null;
  /** Converts, or throws a `TypeError` or `RangeError` whose message says what the type takes. */
  readonly convert: (value: unknown, pointers: PointerConversions) => unknown;
  /** Whether `convert` keeps what it makes: the call lets go of it when it is over. */
  readonly keeps?: true;
}

/** How one type is returned. */
export interface ResultCodec {
  /** What the function is declared to return where the result need not be read from the record. */
  readonly ctype: CType;
  /** View of the record and index that hold the result; null for none. */
  readonly slot: { readonly view: RecordView; readonly index: number } | null;
  /** What remains to be done with what was read. */
  readonly finish: "none" | "bool" | "pointer" | "string" | "exact";
}

/** The views of a thread's record. */
export type RecordView =
  | "i8"
  | "u8"
  | "i16"
  | "u16"
  | "i32"
  | "u32"
  | "i64"
  | "u64"
  | "f32"
  | "f64";

function numberCodec(
  ctype: CType,
  description: string,
  inline: (name: string) => string,
  convert: (value: number) => number,
): ParameterCodec {
  return {
    ctype,
    register: ctype === "f32" || ctype === "f64" ? "float" : "integer",
    test: (name) => `typeof ${name} === "number"`,
    inline,
    convert: (value) => {
      if (typeof value !== "number") throw new TypeError(`takes ${description}`);
      return convert(value);
    },
  };
}

/** A number or bigint as 64 bits, wrapped as a typed array would; small numbers stay numbers. */
function wideCodec(ctype: "i64" | "u64"): ParameterCodec {
  const wrap = ctype === "i64" ? BigInt.asIntN : BigInt.asUintN;
  const lowest = ctype === "i64" ? Number.MIN_SAFE_INTEGER : 0;
  return {
    ctype,
    register: "integer",
    test: null,
    // Both runtimes wrap a bigint modulo 2 ** 64 themselves.
    inline: (name, convert) => `typeof ${name} === "bigint" ? ${name} : ${convert}(${name})`,
    convert: (value) => {
      if (typeof value === "bigint") return wrap(64, value);
      if (typeof value !== "number") throw new TypeError("takes a number or a bigint");
      if (Number.isSafeInteger(value) && value >= lowest) return BigInt(value);
      if (!Number.isFinite(value)) return 0n;
      return wrap(64, BigInt(Math.trunc(value)));
    },
  };
}

function isBuffer(value: unknown): value is NativeBuffer {
  // Not by instanceof: memory of another realm is memory, too.
  return ArrayBuffer.isView(value) || builtin("node:util").types.isAnyArrayBuffer(value);
}

/**
 * A view of a buffer that is still attached. Its `buffer` is always asked for: both engines keep a
 * small array's memory in their own heap until then, and move it. Native code may keep the address.
 */
function viewOf(value: NativeBuffer): ArrayBufferView {
  const buffer = ArrayBuffer.isView(value) ? value.buffer : value;
  if ("detached" in buffer && buffer.detached) {
    throw new TypeError("takes memory that is still attached, and this buffer was transferred");
  }
  return ArrayBuffer.isView(value) ? value : new Uint8Array(value);
}

const pointerCodec: ParameterCodec = {
  ctype: "pointer",
  register: "integer",
  test: null,
  inline: null,
  convert: (value, pointers) => {
    if (value === null || pointers.isPointer(value)) return value;
    if (isBuffer(value)) return pointers.pointerTo(viewOf(value));
    const callback = pointers.callbackPointer(value);
    if (callback !== undefined) return callback;
    throw new TypeError("takes a pointer of this runtime, a buffer, a callback or null");
  },
};

/** A function that native code may call: always behind a barrier, since it may run JavaScript. */
const functionCodec: ParameterCodec = {
  ...pointerCodec,
  convert: (value, pointers) => {
    const pointer = pointerCodec.convert(value, pointers);
    return pointer === null ? null : pointers.barrierOf(pointer);
  },
};

const bufferCodec: ParameterCodec = {
  ctype: "buffer",
  register: "integer",
  test: null,
  // A detached array is empty, too. Asking for the buffer fixes its place, as in `viewOf`.
  inline: (name, convert) =>
    `ArrayBuffer.isView(${name}) && ${name} instanceof Uint8Array && ` +
    `${name}.byteLength !== 0 && ${name}.buffer ? ${name} : ${convert}(${name})`,
  convert: (value, pointers) => {
    if (value === null) return null;
    if (!isBuffer(value)) {
      throw new TypeError("takes a typed array, a DataView, an ArrayBuffer or null");
    }
    return pointers.bufferArgument(viewOf(value));
  },
};

const encoder = new TextEncoder();

const stringCodec: ParameterCodec = {
  ctype: "buffer",
  register: "integer",
  test: null,
  inline: null,
  keeps: true,
  convert: (value, pointers) => {
    if (value === null) return null;
    if (typeof value !== "string") {
      if (!isBuffer(value)) throw new TypeError("takes a string, a buffer or null");
      return pointers.bufferArgument(keep(viewOf(value)));
    }
    if (value.includes("\0")) {
      throw new TypeError("takes a string without a zero inside, where C would end it");
    }
    return pointers.bufferArgument(keep(encoder.encode(`${value}\0`)));
  },
};

const addressCodec: ParameterCodec = {
  ctype: "u64",
  register: "integer",
  test: null,
  inline: null,
  convert: (value) => {
    if (value === null) return 0n;
    if (typeof value !== "bigint") throw new TypeError("takes a bigint or null");
    if (value < 0n || value >= 1n << 64n) {
      throw new RangeError("takes an address from 0n to 2n ** 64n - 1n");
    }
    return value;
  },
};

const boolCodec: ParameterCodec = {
  ctype: "u32",
  register: "integer",
  test: (name) => `typeof ${name} === "boolean"`,
  inline: (name) => `(${name} ? 1 : 0)`,
  convert: (value) => {
    if (typeof value !== "boolean") throw new TypeError("takes true or false");
    return value ? 1 : 0;
  },
};

// Narrow integers cross as 32 bits, extended by us: the ABI leaves the upper bits to the caller,
// and callees differ in what they rely on.
const parameterCodecs: Readonly<Record<Exclude<NativeType, "void">, ParameterCodec>> = {
  bool: boolCodec,
  i8: numberCodec("i32", "a number", (name) => `${name} << 24 >> 24`, (n) => n << 24 >> 24),
  u8: numberCodec("u32", "a number", (name) => `${name} & 255`, (n) => n & 255),
  i16: numberCodec("i32", "a number", (name) => `${name} << 16 >> 16`, (n) => n << 16 >> 16),
  u16: numberCodec("u32", "a number", (name) => `${name} & 65535`, (n) => n & 65535),
  i32: numberCodec("i32", "a number", (name) => `${name} | 0`, (n) => n | 0),
  u32: numberCodec("u32", "a number", (name) => `${name} >>> 0`, (n) => n >>> 0),
  i64: wideCodec("i64"),
  u64: wideCodec("u64"),
  isize: wideCodec("i64"),
  usize: wideCodec("u64"),
  f32: numberCodec("f32", "a number", (name) => name, (n) => n),
  f64: numberCodec("f64", "a number", (name) => name, (n) => n),
  pointer: pointerCodec,
  buffer: bufferCodec,
  function: functionCodec,
  address: addressCodec,
  cstring: stringCodec,
};

function result(
  ctype: CType,
  view: RecordView,
  index: number,
  finish: ResultCodec["finish"] = "none",
): ResultCodec {
  return { ctype, slot: { view, index }, finish };
}

// rax lies at byte 8 of the record, xmm0 at byte 16. Results narrower than 32 bits leave the rest
// of rax undefined: they are always read from the record, at their own width.
const resultCodecs: Readonly<Record<NativeType, ResultCodec>> = {
  void: { ctype: "void", slot: null, finish: "none" },
  bool: result("void", "u8", 8, "bool"),
  i8: result("void", "i8", 8),
  u8: result("void", "u8", 8),
  i16: result("void", "i16", 4),
  u16: result("void", "u16", 4),
  i32: result("i32", "i32", 2),
  u32: result("u32", "u32", 2),
  i64: result("i64", "i64", 1),
  u64: result("u64", "u64", 1),
  isize: result("i64", "i64", 1),
  usize: result("u64", "u64", 1),
  f32: result("f32", "f32", 4),
  f64: result("f64", "f64", 2),
  pointer: result("void", "u64", 1, "pointer"),
  buffer: result("void", "u64", 1, "pointer"),
  function: result("void", "u64", 1, "pointer"),
  address: result("u64", "u64", 1),
  cstring: result("void", "u64", 1, "string"),
};

/** Results that are numbers where that is exact. Deno's spelling has no name for them. */
export const exactResultCodecs: Readonly<Record<"i64_fast" | "u64_fast", ResultCodec>> = {
  i64_fast: result("void", "i64", 1, "exact"),
  u64_fast: result("void", "u64", 1, "exact"),
};

/** The codec of a parameter type, or undefined for a type that is not known. */
export function parameterCodec(type: unknown): ParameterCodec | undefined {
  if (typeof type !== "string" || !Object.hasOwn(parameterCodecs, type)) return undefined;
  return parameterCodecs[type as Exclude<NativeType, "void">];
}

/** The codec of a result type, or undefined for a type that is not known. */
export function resultCodec(type: unknown): ResultCodec | undefined {
  if (typeof type !== "string" || !Object.hasOwn(resultCodecs, type)) return undefined;
  return resultCodecs[type as NativeType];
}

/** How a callback's parameter of a type arrives; undefined for a type that is not known. */
export function incomingType(type: unknown): CType | undefined {
  const codec = parameterCodec(type);
  if (codec === undefined) return undefined;
  return codec.ctype === "pointer" || codec.ctype === "buffer" ? "u64" : codec.ctype;
}

/** The names of all types, for error messages. */
export const nativeTypeNames: readonly string[] = Object.freeze(Object.keys(resultCodecs));
