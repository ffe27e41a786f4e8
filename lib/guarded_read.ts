/**
 * Reads memory that a library pointed to, with a recovery point: a pointer that leads nowhere
 * becomes a `HardwareException` that names the symbol it came from.
 *
 * @module
 */
import { pending, threadRecordLayout } from "./abi.ts";
import type { ExceptionBytes } from "./exception_info.ts";
import { HardwareException } from "./hardware_exception.ts";
import { checkStatus, type Native, takeException } from "./native.ts";
import type { CFunction, CType } from "./runtime/types.ts";
import { nameSlot } from "./running_hooks.ts";
import { signalMask } from "./signal_table.ts";
import { hasThrown, takeThrown } from "./thrown.ts";

/**
 * Told of each exception before it is thrown; gives the error if it made one, which is then the one
 * to throw.
 */
export type OnCaught = (bytes: ExceptionBytes) => HardwareException | null;

/** Where an address came from, for the exception that reading there may end in. */
export interface ReadOrigin {
  readonly library: string;
  readonly symbol: string;
  /** Called for each exception. */
  readonly caught: OnCaught;
}

/** The functions of the native library that read, each behind a thunk of this thread. */
interface Readers {
  readonly string: CFunction;
  readonly value: CFunction;
}

const signatures: readonly { readonly name: string; readonly parameters: readonly CType[] }[] = [
  { name: "fl_string_read", parameters: ["u64", "buffer", "u32"] },
  { name: "fl_value_read", parameters: ["u64", "u32"] },
];

const pendingIndex = threadRecordLayout.pending.offset / 4;
const resultIndex = threadRecordLayout.result.offset / 4;
const scratchLength = 4096;
const stringLengthMax = 2 ** 32 - 1;

// The mark at the start is a character like any other: C has no convention that removes it.
const decoder = new TextDecoder("utf-8", { ignoreBOM: true });

let opened: Readers | undefined;
let scratch: Uint8Array | null = null;

/**
 * Opens what reading needs on this thread, once and for good. Done before the first call that may
 * need it: a result is never lost because it could not be read.
 */
export function prepareReads(native: Native): void {
  opened ??= open(native);
}

function open({ runtime, functions, path }: Native): Readers {
  const library = runtime.openLibrary(path, functions);
  const addresses = library.symbolAddresses(signatures.map(({ name }) => name));
  const mask = signalMask(["SIGSEGV", "SIGBUS"]);
  const slots: number[] = [];
  try {
    const thunks = signatures.map(({ name, parameters }, at) => {
      const index = functions.fl_slot_open!(addresses[at]!, mask, 0, 0, 0) as number;
      checkStatus(index, `Cannot guard ${name}() of ${path}`);
      slots.push(index);
      nameSlot(index, Object.freeze({ library: "faultline", symbol: "a read of a result" }));
      const address = functions.fl_thunk_address!(index) as bigint;
      return { index, name: `fl_t${index}`, address, parameters, result: "void" as const };
    });
    const [string, value] = runtime.bindThunks(path, thunks).functions;
    return { string: string!, value: value! };
  } catch (error) {
    for (const slot of slots) functions.fl_slot_release!(slot);
    library.close();
    throw error;
  }
}

function throwPending(native: Native, { library, symbol, caught }: ReadOrigin): void {
  const { record } = native;
  const state = record.u32[pendingIndex];
  if (state === pending.none) return;
  record.u32[pendingIndex] = pending.none;
  const { chunk, offset } = takeException(native, state === pending.hooked);
  const bytes = { chunk, offset, call: Object.freeze({ library, symbol }) };
  const error = caught(bytes);
  if (hasThrown(record)) throw takeThrown(record);
  throw error ?? new HardwareException(bytes);
}

/** Copies what fits of a string, and gives the length of all of it. */
function copyString(
  native: Native,
  address: bigint,
  into: Uint8Array,
  origin: ReadOrigin,
): number {
  prepareReads(native);
  opened!.string(address, into, into.byteLength);
  throwPending(native, origin);
  const { u32 } = native.record;
  return u32[resultIndex + 1]! * 2 ** 32 + u32[resultIndex]!;
}

/**
 * The NUL-terminated UTF-8 at `address`, or null for address 0. Invalid bytes become U+FFFD, and a
 * byte order mark is kept.
 *
 * @throws {HardwareException} If the string, or a part of it, cannot be read.
 * @throws {RangeError} If it has 4 GiB or more.
 */
export function readString(native: Native, address: bigint, origin: ReadOrigin): string | null {
  if (address === 0n) return null;
  // Taken for the time of the read, so that a hook that reads a string itself uses other memory.
  const buffer = scratch ?? new Uint8Array(scratchLength);
  scratch = null;
  try {
    const length = copyString(native, address, buffer, origin);
    if (length <= buffer.byteLength) return decoder.decode(buffer.subarray(0, length));
    if (length > stringLengthMax) {
      throw new RangeError(
        `Cannot read the string that ${origin.symbol} of ${origin.library} gave as it has ` +
          `${length} bytes: at most ${stringLengthMax} are supported`,
      );
    }
    const large = new Uint8Array(length);
    // Another thread may have changed it since.
    const now = copyString(native, address, large, origin);
    return decoder.decode(now < length ? large.subarray(0, now) : large);
  } finally {
    scratch = buffer;
  }
}

/**
 * Reads the value of 1, 2, 4 or 8 bytes at `address`, which need not be aligned. It is then in the
 * result of the thread's record, in the low bits.
 *
 * @throws {HardwareException} If it cannot be read.
 */
export function readValue(
  native: Native,
  address: bigint,
  byteLength: 1 | 2 | 4 | 8,
  origin: ReadOrigin,
): void {
  prepareReads(native);
  opened!.value(address, byteLength);
  throwPending(native, origin);
}
