/**
 * Calls whose arguments, recovery state and results lie in memory: on other threads, and where no
 * thunk is left.
 *
 * @module
 */
import { callBlockLayout, nativeStatus, pending, threadRecordLayout } from "./abi.ts";
import { blockName, breadcrumbOf, leaveCrumb } from "./breadcrumbs.ts";
import {
  closedError,
  converter,
  foreignError,
  type GuardedFunction,
  makeTake,
} from "./guarded_call.ts";
import type { GuardedSignature } from "./guarded_call.ts";
import { type OnCaught, prepareReads, readString } from "./guarded_read.ts";
import { exactResult, finishResult } from "./guarded_result.ts";
import { HardwareException } from "./hardware_exception.ts";
import { keep, keptCount, keptSince, letGo } from "./kept.ts";
import { machine } from "./machine.ts";
import { checkStatus, type Native, type RecordViews, recordViews } from "./native.ts";
import { blockBegins, blockEnds } from "./running_hooks.ts";
import { isCallback } from "./callback_brand.ts";
import type { ParameterCodec, PointerConversions } from "./native_type.ts";

/** What a block calls, and which exceptions of it are caught. */
export interface BlockTarget {
  readonly address: bigint;
  readonly caught: number;
  readonly raised: number;
  readonly propagate: boolean;
}

const layout = callBlockLayout;
const pendingIndex = threadRecordLayout.pending.offset / 4;
const exceptionMaxIndex = threadRecordLayout.exception_size_max.offset / 4;
/** As `Slot.propagate_bit` of the trampoline. */
const propagateBit = 0x8000_0000;
const { integerRegisters, floatRegisters } = machine;

/** One call: its memory, and what must stay alive while it runs. */
interface Block {
  readonly bytes: Uint8Array;
  readonly view: DataView;
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
  name: number,
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
  view.setUint32(layout.name.offset, name, true);
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
  return { bytes, view, kept: [words, ...values] };
}

/** The result that a call left in `record`. */
function readResult(
  signature: GuardedSignature,
  record: RecordViews,
  { ready, pointers, caught }: BlockCall,
): unknown {
  const { slot } = signature.result;
  if (slot === null) return undefined;
  const origin = { library: signature.library, symbol: signature.symbol, caught };
  return finishResult(signature.result, record[slot.view][slot.index]!, {
    pointerFrom: pointers.pointerFrom,
    readString: (address) => readString(ready, address, origin),
    exact: () => exactResult(record, slot.view === "i64"),
  });
}

function checkBlock({ view }: Block, { library, symbol }: GuardedSignature): void {
  const status = view.getInt32(layout.status.offset, true);
  checkStatus(status, `Cannot call ${symbol}() of ${library}`);
}

/** What the calls of one function have in common. */
interface BlockCall {
  readonly ready: Native;
  readonly pointers: PointerConversions;
  readonly caught: OnCaught;
}

/** The error of calls that are refused. */
type Refusal = (signature: GuardedSignature) => Error;

/** Makes the block of a call from its arguments. */
function prepare(
  signature: GuardedSignature,
  target: BlockTarget,
  { ready, pointers }: BlockCall,
): (values: readonly unknown[]) => Block {
  if (signature.result.finish === "string") prepareReads(ready);
  const name = blockName(ready, signature.library, signature.symbol);
  const converters = signature.parameters.map((_, index) => converter(signature, pointers, index));
  return (values) => {
    const count = keptCount();
    try {
      const converted = converters.map((convert, index) => convert(values[index]));
      const block = fill(target, name, signature.parameters, converted, ready);
      block.kept.push(...keptSince(count));
      return block;
    } finally {
      letGo(count);
    }
  };
}

/** A guarded function without a thunk: slower, without limit. */
export function blockFunction(
  signature: GuardedSignature,
  target: BlockTarget,
  ready: Native,
  pointers: PointerConversions,
  caught: OnCaught,
): GuardedFunction {
  const context = { ready, pointers, caught };
  const makeBlock = prepare(signature, target, context);
  const take = makeTake(signature, ready, caught);
  const { record, functions } = ready;
  const names = Object.freeze({ library: signature.library, symbol: signature.symbol });
  const breadcrumb = breadcrumbOf(ready, signature.library, signature.symbol);
  let refused: Refusal | null = null;
  let running = 0;
  const call = (...values: unknown[]): unknown => {
    if (refused !== null) throw refused(signature);
    const block = makeBlock(values);
    if (breadcrumb !== null) leaveCrumb(breadcrumb);
    keep(block);
    running++;
    blockBegins(names);
    try {
      functions.fl_call_block!(block.bytes);
      checkBlock(block, signature);
      if (record.u32[pendingIndex] !== 0) throw new HardwareException(take());
      return readResult(signature, record, context);
    } finally {
      blockEnds();
      running--;
      letGo(keptCount() - 1);
    }
  };
  return {
    call,
    close: () => void (refused = closedError),
    refuse: (error) => void (refused = error),
    inFlight: () => running > 0,
    gone: () => {},
  };
}

/** What other threads are working with: referenced here, whatever becomes of the promise. */
const outstanding = new Set<Block>();

/** Runs a block on another thread, and gives its value or throws its exception. */
async function runElsewhere(
  signature: GuardedSignature,
  block: Block,
  context: BlockCall,
): Promise<unknown> {
  const { runtime, functions, record } = context.ready;
  const handle = functions.fl_block_open!(block.bytes) as bigint;
  if (handle === 0n) {
    checkStatus(nativeStatus.no_memory, `Cannot call ${signature.symbol}()`);
  }
  await runtime.runBlock(handle, functions);
  const chunk = new Uint8Array(record.u32[exceptionMaxIndex]!);
  functions.fl_block_close!(handle, block.bytes, chunk, chunk.byteLength);
  checkBlock(block, signature);
  const state = block.view.getUint32(threadRecordLayout.pending.offset, true);
  // JavaScript hooks do not run on other threads, so that it cannot be `hooked`.
  if (state === pending.exception) {
    const { library, symbol } = signature;
    const call = Object.freeze({ library, symbol });
    const bytes = { chunk: new DataView(chunk.buffer), offset: 0, call };
    throw context.caught(bytes) ?? new HardwareException(bytes);
  }
  if (state === pending.foreign) throw foreignError(signature);
  return readResult(signature, recordViews(block.bytes.buffer), context);
}

/** A guarded function that runs on another thread and gives a promise. */
export function nonblockingFunction(
  signature: GuardedSignature,
  target: BlockTarget,
  ready: Native,
  pointers: PointerConversions,
  caught: OnCaught,
): GuardedFunction {
  const context = { ready, pointers, caught };
  const makeBlock = prepare(signature, target, context);
  const breadcrumb = breadcrumbOf(ready, signature.library, signature.symbol);
  let refused: Refusal | null = null;
  let running = 0;
  const call = async (...values: unknown[]): Promise<unknown> => {
    if (refused !== null) throw refused(signature);
    const position = values.findIndex(isCallback);
    if (position >= 0) {
      throw new TypeError(
        `Cannot call ${signature.symbol}() of ${signature.library} with a callback as its ` +
          `argument ${position + 1}, since it runs on another thread: define the function ` +
          "without nonblocking",
      );
    }
    const block = makeBlock(values);
    if (breadcrumb !== null) leaveCrumb(breadcrumb);
    outstanding.add(block);
    running++;
    try {
      return await runElsewhere(signature, block, context);
    } finally {
      running--;
      outstanding.delete(block);
    }
  };
  return {
    call,
    close: () => void (refused = closedError),
    refuse: (error) => void (refused = error),
    inFlight: () => running > 0,
    gone: () => {},
  };
}
