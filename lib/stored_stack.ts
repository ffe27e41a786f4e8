/**
 * What the handler kept of the stack of an exception. Pure.
 *
 * @module
 */
import { exceptionLayout } from "./machine.ts";
import { type ExceptionBytes, ExceptionReader } from "./exception_info.ts";

/** A thread's stack, as far as it was known when the exception happened. */
export interface StoredStack {
  /** Bounds; both 0n when they are not known. */
  readonly low: bigint;
  readonly high: bigint;
  /** Bytes of the guard at the lower end; 0n when there is none of its own. */
  readonly guard: bigint;
  /** The innermost part: where it was, and its bytes. */
  readonly address: bigint;
  readonly bytes: Uint8Array;
}

/** Reads what the handler kept of the stack. */
export function storedStack(source: ExceptionBytes): StoredStack {
  const reader = new ExceptionReader(source);
  const field = (name: "extended_length" | "frame_count" | "stack_length"): number =>
    source.chunk.getUint32(source.offset + exceptionLayout[name].offset, true);
  const start = exceptionLayout.byteLength + field("extended_length") + 8 * field("frame_count");
  return {
    low: reader.u64("stack_low"),
    high: reader.u64("stack_high"),
    guard: reader.u64("stack_guard"),
    address: source.chunk.getBigUint64(source.offset + exceptionLayout.stack_address.offset, true),
    bytes: reader.copy(start, field("stack_length")),
  };
}
