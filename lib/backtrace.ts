/**
 * The native frames of an exception: from the faulting instruction to the guarded call.
 *
 * @module
 */
import type { ExceptionBytes } from "./exception_info.ts";
import { exceptionLayout } from "./machine.ts";
import type { StackFrame } from "./stack_frame.ts";
import { type CodeAt, codeAt, type RawFrame, refreshModules, unwind } from "./symbols.ts";

/** What a backtrace is to hold. */
export interface BacktraceOptions {
  /** How many frames at most, inlined ones included. */
  readonly limit?: number;
  /** false leaves out names, files and lines, which take time the first time. */
  readonly symbols?: boolean;
}

/** The exception's own bytes at the start of a buffer, where native code finds them aligned. */
function ownBytes({ chunk, offset }: ExceptionBytes): Uint8Array {
  const start = chunk.byteOffset + offset;
  const byteLength = chunk.getUint32(offset + exceptionLayout.size.offset, true);
  return new Uint8Array(chunk.buffer.slice(start, start + byteLength));
}

/** What the handler stored, for when the symbols library cannot be used. */
function storedFrames(exception: Uint8Array): readonly RawFrame[] {
  const view = new DataView(exception.buffer);
  const { byteLength, extended_length, frame_count, instruction_pointer } = exceptionLayout;
  const start = byteLength + view.getUint32(extended_length.offset, true);
  const address = view.getBigUint64(instruction_pointer.offset, true);
  const frames: RawFrame[] = [{ address, trust: "context", exact: true }];
  // The last one is the guarded call's own.
  const count = view.getUint32(frame_count.offset, true) - 1;
  for (let index = 0; index < count; index += 1) {
    const caller = view.getBigUint64(start + index * 8, true);
    frames.push({ address: caller, trust: "frame-pointer", exact: false });
  }
  return frames;
}

/** The frames at one address: functions inlined there, then the one that holds them. */
function framesAt({ address, trust }: RawFrame, code: CodeAt | null): StackFrame[] {
  const unknown = { symbol: null, file: null, line: null, column: null, inlined: false };
  if (code === null) return [{ address, module: null, ...unknown, offset: 0n, trust }];
  const { module, moduleBase, functions } = code;
  const inModule = address - moduleBase;
  if (functions.length === 0) return [{ address, module, ...unknown, offset: inModule, trust }];
  return functions.map(({ name, start, file, line, column }, index) => ({
    address,
    module,
    symbol: name,
    offset: name === null || start === null ? inModule : address - start,
    file,
    line,
    column,
    inlined: index + 1 < functions.length,
    trust,
  }));
}

/** Frames of addresses that were read elsewhere, with names, files and lines. */
export function namedFrames(raw: readonly RawFrame[]): readonly StackFrame[] {
  refreshModules();
  const frames = raw.flatMap((frame) =>
    framesAt(frame, codeAt(frame.exact ? frame.address : frame.address - 1n))
  );
  return Object.freeze(frames.map((frame) => Object.freeze(frame)));
}

/** Frames that were worked out already, by the exception's bytes. */
const known = new WeakMap<ExceptionBytes, { named?: StackFrame[]; bare?: StackFrame[] }>();

function computeFrames(bytes: ExceptionBytes, symbols: boolean): StackFrame[] {
  const exception = ownBytes(bytes);
  refreshModules();
  const raw = unwind(exception) ?? storedFrames(exception);
  const frames = raw.flatMap((frame) => {
    const at = frame.exact ? frame.address : frame.address - 1n;
    return framesAt(frame, codeAt(at, symbols));
  });
  return frames.map((frame) => Object.freeze(frame));
}

/**
 * The native frames of an exception, innermost first, ending before the guarded call. They are
 * worked out once for the same `bytes`.
 *
 * @throws {RangeError} If `limit` is not an integer of at least 0.
 */
export function backtraceOf(
  bytes: ExceptionBytes,
  { limit, symbols = true }: BacktraceOptions = {},
): readonly StackFrame[] {
  if (limit !== undefined && !(Number.isSafeInteger(limit) && limit >= 0)) {
    throw new RangeError(
      `Cannot make a backtrace of ${limit} frames: give a limit that is an integer, 0 or more`,
    );
  }
  let frames = known.get(bytes);
  if (frames === undefined) known.set(bytes, frames = {});
  const all = symbols
    ? frames.named ??= computeFrames(bytes, true)
    : frames.bare ??= computeFrames(bytes, false);
  return Object.freeze(all.slice(0, limit));
}

/** Start of the function that the faulting instruction belongs to; null when that is not known. */
export function symbolAddressOf({ chunk, offset }: ExceptionBytes): bigint | null {
  refreshModules();
  return codeAt(chunk.getBigUint64(offset + exceptionLayout.instruction_pointer.offset, true))
    ?.symbolAddress ?? null;
}
