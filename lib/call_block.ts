/**
 * Calls whose arguments, recovery state and results lie in memory: on other threads, and where no
 * thunk is left.
 *
 * @module
 */
import { callBlockLayout, pending, threadRecordLayout } from "./abi.ts";
import { closedError, converter, foreignError, type GuardedFunction } from "./guarded_call.ts";
import type { GuardedSignature } from "./guarded_call.ts";
import { HardwareException } from "./hardware_exception.ts";
import { checkStatus, exceptionSizeMax, type Native, recordViews } from "./native.ts";
import { isCallback } from "./callback_brand.ts";
import type { ParameterCodec, PointerConversions } from "./native_type.ts";
import { hasThrown, takeThrown } from "./thrown.ts";

/** What a block calls, and which exceptions of it are caught. */
export interface BlockTarget {
  readonly address: bigint;
  readonly caught: number;
  readonly raised: number;
  readonly propagate: boolean;
}

const layout = callBlockLayout;
/** As `Slot.propagate_bit` of the trampoline. */
const propagateBit = 0x8000_0000;
const integerRegisters = 6;
const floatRegisters = 8;

/** One call: its memory, and what must stay alive while it runs. */
interface Block {
  readonly bytes: Uint8Array;
  readonly view: DataView;
  readonly chunk: Uint8Array;
  /** Buffers and stack arguments that the native side has addresses of. */
  readonly kept: unknown[];
}

/** Writes one converted argument as the 64 bits that its register or stack word holds. */
function writeArgument(
  view: DataView,
  at: number,
  codec: ParameterCodec,
  value: unknown,
  { runtime, functions }: Native,
): void {
  if (codec.ctype === "i32") view.setBigInt64(at, BigInt(value as number), true);
  else if (codec.ctype === "u32") view.setBigUint64(at, BigInt(value as number), true);
  else if (codec.ctype === "f32") view.setFloat32(at, value as number, true);
  else if (codec.ctype === "f64") view.setFloat64(at, value as number, true);
  else if (codec.ctype === "i64") view.setBigInt64(at, value as bigint, true);
  else if (codec.ctype === "u64") view.setBigUint64(at, value as bigint, true);
  else if (value === null) view.setBigUint64(at, 0n, true);
  else if (ArrayBuffer.isView(value)) {
    view.setBigUint64(at, runtime.addressOfBuffer(value, functions), true);
  } else view.setBigUint64(at, runtime.addressOf(value, functions), true);
}

function fill(
  target: BlockTarget,
  codecs: readonly ParameterCodec[],
  values: readonly unknown[],
  ready: Native,
): Block {
  const bytes = new Uint8Array(layout.byteLength);
  const view = new DataView(bytes.buffer);
  const stack: [ParameterCodec, unknown][] = [];
  let integers = 0;
  let floats = 0;
  codecs.forEach((codec, index) => {
    const value = values[index];
    if (codec.register === "integer" && integers < integerRegisters) {
      writeArgument(view, layout.integers.offset + 8 * integers++, codec, value, ready);
    } else if (codec.register === "float" && floats < floatRegisters) {
      writeArgument(view, layout.floats.offset + 8 * floats++, codec, value, ready);
    } else stack.push([codec, value]);
  });
  view.setBigUint64(layout.target.offset, target.address, true);
  view.setUint32(layout.caught.offset, target.caught, true);
  view.setUint32(layout.raised.offset, target.raised, true);
  view.setUint32(layout.slot_state.offset, target.propagate ? propagateBit : 0, true);
  const { runtime, functions } = ready;
  const words = new Uint8Array(16 * Math.ceil(stack.length / 2));
  if (stack.length > 0) {
    const wordView = new DataView(words.buffer);
    stack.forEach(([codec, value], index) =>
      writeArgument(wordView, 8 * index, codec, value, ready)
    );
    const address = runtime.addressOfBuffer(words, functions);
    view.setBigUint64(layout.stack.offset, address, true);
    view.setUint32(layout.stack_bytes.offset, words.byteLength, true);
  }
  const chunk = new Uint8Array(exceptionSizeMax(ready));
  checkStatus(
    functions.fl_give_chunk!(bytes, chunk, chunk.byteLength) as number,
    "Cannot give the handler memory for exceptions",
  );
  return { bytes, view, chunk, kept: [words, ...values] };
}

function readResult(
  signature: GuardedSignature,
  { bytes }: Block,
  pointers: PointerConversions,
): unknown {
  const { slot, finish } = signature.result;
  if (slot === null) return undefined;
  const value = recordViews(bytes.buffer)[slot.view][slot.index]!;
  if (finish === "bool") return value !== 0;
  return finish === "pointer" ? pointers.pointerFrom(value as bigint) : value;
}

/** The value of a call that ran, or what it has to throw. */
function finish(
  signature: GuardedSignature,
  block: Block,
  pointers: PointerConversions,
  caught: () => void,
): unknown {
  const state = block.view.getUint32(threadRecordLayout.pending.offset, true);
  if (state === pending.exception) {
    caught();
    const offset = block.view.getUint32(threadRecordLayout.exception_offset.offset, true);
    const call = Object.freeze({ library: signature.library, symbol: signature.symbol });
    throw new HardwareException({ chunk: block.chunk, offset, call });
  }
  if (state === pending.foreign) throw foreignError(signature);
  return readResult(signature, block, pointers);
}

function convertAll(
  signature: GuardedSignature,
  pointers: PointerConversions,
): (values: readonly unknown[]) => unknown[] {
  const converters = signature.parameters.map((_, index) => converter(signature, pointers, index));
  return (values) => converters.map((convert, index) => convert(values[index]));
}

/** A guarded function without a thunk: slower, without limit. */
export function blockFunction(
  signature: GuardedSignature,
  target: BlockTarget,
  ready: Native,
  pointers: PointerConversions,
  caught: () => void,
): GuardedFunction {
  const convert = convertAll(signature, pointers);
  const pendingIndex = threadRecordLayout.pending.offset / 4;
  const what = `Cannot call ${signature.symbol}() of ${signature.library}`;
  let closed = false;
  let running = 0;
  const call = (...values: unknown[]): unknown => {
    if (closed) throw closedError(signature);
    const block = fill(target, signature.parameters, convert(values), ready);
    running++;
    try {
      checkStatus(ready.functions.fl_call_block!(block.bytes) as number, what);
    } finally {
      running--;
    }
    if (hasThrown()) {
      ready.record.u32[pendingIndex] = pending.none;
      throw takeThrown();
    }
    return finish(signature, block, pointers, caught);
  };
  return { call, close: () => void (closed = true), inFlight: () => running > 0 };
}

/** A guarded function that runs on another thread and gives a promise. */
export function nonblockingFunction(
  signature: GuardedSignature,
  target: BlockTarget,
  ready: Native,
  pointers: PointerConversions,
  caught: () => void,
): GuardedFunction {
  const convert = convertAll(signature, pointers);
  const { runtime, functions } = ready;
  const what = `Cannot call ${signature.symbol}() of ${signature.library}`;
  let closed = false;
  let running = 0;
  const call = async (...values: unknown[]): Promise<unknown> => {
    if (closed) throw closedError(signature);
    const position = values.findIndex(isCallback);
    if (position >= 0) {
      throw new TypeError(
        `${what} with a callback as its argument ${position + 1}, since it runs on another ` +
          "thread: define the function without nonblocking",
      );
    }
    const block = fill(target, signature.parameters, convert(values), ready);
    running++;
    try {
      checkStatus(await runtime.runBlock(block.bytes, functions), what);
    } finally {
      running--;
    }
    return finish(signature, block, pointers, caught);
  };
  return { call, close: () => void (closed = true), inFlight: () => running > 0 };
}
