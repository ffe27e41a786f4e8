/**
 * Variables of a library: what a definition `{ type }` asks for, and how its value is read.
 *
 * @module
 */
import { threadRecordLayout } from "./abi.ts";
import { readString, readValue } from "./guarded_read.ts";
import type { Native } from "./native.ts";
import type { NativeType, RecordView } from "./native_type.ts";

/** The definition of a variable, read and checked. */
export interface ParsedStatic {
  /** Key in `symbols`. */
  readonly key: string;
  readonly optional: boolean;
  readonly library: string;
  readonly symbol: string;
  readonly type: StaticType;
}

/** Types that a variable may have. */
export type StaticType = Exclude<NativeType, "void">;

interface Scalar {
  readonly view: RecordView;
  readonly byteLength: 1 | 2 | 4 | 8;
}

const scalars: Readonly<Partial<Record<StaticType, Scalar>>> = {
  bool: { view: "u8", byteLength: 1 },
  i8: { view: "i8", byteLength: 1 },
  u8: { view: "u8", byteLength: 1 },
  i16: { view: "i16", byteLength: 2 },
  u16: { view: "u16", byteLength: 2 },
  i32: { view: "i32", byteLength: 4 },
  u32: { view: "u32", byteLength: 4 },
  i64: { view: "i64", byteLength: 8 },
  u64: { view: "u64", byteLength: 8 },
  isize: { view: "i64", byteLength: 8 },
  usize: { view: "u64", byteLength: 8 },
  f32: { view: "f32", byteLength: 4 },
  f64: { view: "f64", byteLength: 8 },
};

/** The names of all types of variables, for error messages. */
export const staticTypeNames: readonly string[] = Object.freeze([
  ...Object.keys(scalars),
  "pointer",
  "buffer",
  "function",
  "address",
  "cstring",
]);

/** Whether a variable may have this type. */
export function isStaticType(type: unknown): type is StaticType {
  return typeof type === "string" && staticTypeNames.includes(type);
}

/**
 * The value of the variable at `address`.
 *
 * @throws {HardwareException} If it cannot be read.
 */
export function readStatic(native: Native, definition: ParsedStatic, address: bigint): unknown {
  const { library, symbol, type } = definition;
  const origin = { library, symbol, caught: () => null };
  if (type === "address") return address;
  if (type === "cstring") return readString(native, address, origin);
  const scalar = scalars[type];
  if (scalar === undefined) return native.runtime.pointerFrom(address, native.functions);
  const { view, byteLength } = scalar;
  readValue(native, address, byteLength, origin);
  const value = native.record[view][threadRecordLayout.result.offset / byteLength];
  return type === "bool" ? value !== 0 : value;
}
