/**
 * What is left to do with the result of a call, once it was returned or read from a record.
 *
 * @module
 */
import { threadRecordLayout } from "./abi.ts";
import type { RecordViews } from "./native.ts";
import type { ResultCodec } from "./native_type.ts";

/** What finishing takes. */
export interface ResultConversions {
  readonly pointerFrom: (address: bigint) => unknown;
  readonly readString: (address: bigint) => string | null;
  /** The result as a number where that is exact, else as a bigint. */
  readonly exact: () => number | bigint;
}

const resultIndex = threadRecordLayout.result.offset / 4;

/** The result in a record as a number where that is exact, else as a bigint. */
export function exactResult(record: RecordViews, signed: boolean): number | bigint {
  const high = (signed ? record.i32 : record.u32)[resultIndex + 1]!;
  const value = high * 2 ** 32 + record.u32[resultIndex]!;
  // The sum is exact up to 2 ** 53, and rounding brings no larger one below that.
  if (Number.isSafeInteger(value)) return value;
  return (signed ? record.i64 : record.u64)[resultIndex / 2]!;
}

/** Turns what a call gave into what its wrapper returns. */
export function finishResult(
  { finish }: ResultCodec,
  value: unknown,
  conversions: ResultConversions,
): unknown {
  if (finish === "bool") return value !== 0;
  if (finish === "exact") return conversions.exact();
  if (finish === "string") return conversions.readString(value as bigint);
  return finish === "pointer" ? conversions.pointerFrom(value as bigint) : value;
}
