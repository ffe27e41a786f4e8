/**
 * Reads definitions in Bun's spelling: `{ args, returns, ptr }`, with Bun's names and numbers of
 * types. It chooses names only; what the types take and give is the same as in Deno's spelling.
 *
 * @module
 */
import { describeValue } from "./describe_value.ts";
import type { NativeType } from "./native_type.ts";

/** A type of Bun's, by the names of ours. */
export type BunType = NativeType | "i64_fast" | "u64_fast";

/** A definition in Bun's spelling, translated. */
export interface BunDefinition {
  readonly parameters: readonly BunType[];
  readonly result: BunType;
  /** Where the function is; null for the symbol of that name. */
  readonly address: bigint | null;
}

/** The properties that make a definition one in Bun's spelling. */
export const bunNames: readonly string[] = Object.freeze(["args", "returns", "ptr"]);

/** Ours, then Bun's names for the same. */
const names: Readonly<Record<BunType, readonly string[]>> = {
  void: ["void"],
  bool: ["bool"],
  // Signed, as C's char is on x86-64 and as Bun has it everywhere.
  i8: ["i8", "int8_t", "char"],
  u8: ["u8", "uint8_t"],
  i16: ["i16", "int16_t"],
  u16: ["u16", "uint16_t"],
  i32: ["i32", "int32_t", "int", "c_int"],
  u32: ["u32", "uint32_t", "c_uint"],
  i64: ["i64", "int64_t"],
  u64: ["u64", "uint64_t"],
  isize: ["isize"],
  usize: ["usize", "size_t"],
  i64_fast: ["i64_fast"],
  u64_fast: ["u64_fast"],
  f32: ["f32", "float"],
  f64: ["f64", "double"],
  // A text that somebody has to free is a pointer in Bun too: only `cstring` is read.
  pointer: ["ptr", "pointer", "void*", "char*"],
  cstring: ["cstring"],
  function: ["function", "callback", "fn"],
  buffer: ["buffer"],
  address: ["address"],
};

const byName: ReadonlyMap<string, BunType> = new Map(
  Object.entries(names).flatMap(([type, all]) => all.map((name) => [name, type as BunType])),
);

/** The members of `FFIType` by number. */
const byNumber: readonly (BunType | string)[] = [
  "i8",
  "i8",
  "u8",
  "i16",
  "u16",
  "i32",
  "u32",
  "i64",
  "u64",
  "f64",
  "f32",
  "bool",
  "pointer",
  "void",
  "cstring",
  "i64_fast",
  "u64_fast",
  "function",
  "napi_env",
  "napi_value",
  "buffer",
  "buffer_length",
];

const refused: Readonly<Record<string, string>> = {
  napi_env: "belongs to Node-API, which a library without C source cannot be called with",
  napi_value: "belongs to Node-API, which a library without C source cannot be called with",
  buffer_length: "takes its value from another argument: pass the length as usize",
  buffer_bytelength: "takes its value from another argument: pass the length as usize",
};

function translate(type: unknown, position: string, what: string): BunType {
  const name = typeof type === "number" ? byNumber[type] : type;
  const known = typeof name === "string" ? byName.get(name) : undefined;
  if (known !== undefined) return known;
  const given = describeValue(type);
  if (typeof name === "string" && Object.hasOwn(refused, name)) {
    const both = typeof type === "number" ? `${given} (${name})` : given;
    throw new TypeError(
      `Cannot define ${what} as its ${position} has the type ${both}, which ${refused[name]}`,
    );
  }
  throw new TypeError(
    `Cannot define ${what} as its ${position} has the type ${given}, which is not supported: ` +
      `use a member of FFIType or one of ${[...byName.keys()].join(", ")}`,
  );
}

function readAddress(value: unknown, what: string): bigint | null {
  if (value === undefined) return null;
  if (typeof value === "number" && Number.isSafeInteger(value) && value > 0) return BigInt(value);
  if (typeof value === "bigint" && value > 0n && value < 1n << 64n) return value;
  throw new TypeError(
    `Cannot define ${what} as its ptr is not the address of a function, a number or a bigint ` +
      `above 0: current value is ${describeValue(value)}`,
  );
}

/**
 * Translates a definition in Bun's spelling.
 *
 * @param what The symbol and its library, for messages.
 * @throws {TypeError} If a type is not known or cannot work, or `ptr` is no address.
 */
export function parseBunDefinition(
  { args = [], returns = "void", ptr }: Readonly<Record<string, unknown>>,
  what: string,
): BunDefinition {
  if (!Array.isArray(args)) {
    throw new TypeError(`Cannot define ${what} as its args are not an array of types`);
  }
  // Array.from, unlike map, visits holes.
  const parameters = Array.from(args, (type, index) => {
    const position = `argument ${index + 1}`;
    const translated = translate(type, position, what);
    if (translated !== "void") return translated;
    throw new TypeError(
      `Cannot define ${what} as its ${position} has the type ${
        describeValue(type)
      } (void), which ` +
        `only a result can have`,
    );
  });
  return {
    parameters,
    result: translate(returns, "result", what),
    address: readAddress(ptr, what),
  };
}
