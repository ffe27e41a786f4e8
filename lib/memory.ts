/**
 * Memory of this process by address: read, written, asked about and protected, with errors in place
 * of the crash.
 *
 * @module
 */
import { mappingLayout } from "./abi.ts";
import { guardedFunction } from "./guarded_call.ts";
import { pointerConversions } from "./pointers.ts";
import { describeValue } from "./describe_value.ts";
import {
  bitsOf,
  checkAddress,
  checkProtection,
  checkRange,
  type MemoryRange,
  type Protection,
  protectionOf,
  takeRange,
} from "./memory_range.ts";
import { checkStatus, native } from "./native.ts";
import { type ParameterCodec, resultCodec } from "./native_type.ts";
import { nameSlot } from "./running_hooks.ts";
import type { CFunction, CType } from "./runtime/types.ts";
import { signalMask } from "./signal_table.ts";
import { systemError } from "./system_error.ts";

function checkAttached(what: string, name: string, { buffer }: ArrayBufferView): void {
  if (!(buffer instanceof ArrayBuffer) || !buffer.detached) return;
  throw new TypeError(`Cannot ${what} as ${name} is detached: its buffer was transferred`);
}

function checkBytes(what: string, name: string, bytes: unknown): asserts bytes is Uint8Array {
  if (!(bytes instanceof Uint8Array)) {
    throw new TypeError(
      `Cannot ${what} as ${name} must be a Uint8Array: current value is ${describeValue(bytes)}`,
    );
  }
  // Only an empty one can be detached. Asking each costs small arrays a buffer of their own.
  if (bytes.byteLength === 0) checkAttached(what, name, bytes);
}

/** A parameter whose values were checked already and need no conversion. */
function checked(ctype: CType): ParameterCodec {
  return {
    ctype,
    register: ctype === "f64" ? "float" : "integer",
    test: null,
    inline: (name) => name,
    convert: (value) => value,
  };
}

/** Each copy and its symbol in the native library. An exception names the former. */
const copySymbols = { readMemory: "fl_read_memory", writeMemory: "fl_write_memory" } as const;

/** Gives a copy a thunk, which stays open as long as the thread lives. */
function openCopy(symbol: keyof typeof copySymbols): CFunction {
  const ready = native();
  const { runtime, functions, path } = ready;
  const library = runtime.openLibrary(path, functions);
  const [target] = library.symbolAddresses([copySymbols[symbol]]);
  library.close(); // It is open for `native` as well.
  const parameterTypes = ["u64", "buffer", "f64"] as const;
  const parameters = parameterTypes.map(checked);
  const result = resultCodec("void")!;
  const slot = functions.fl_slot_open!(
    target,
    signalMask(["SIGSEGV", "SIGBUS"]),
    0,
    0,
    0,
  ) as number;
  checkStatus(slot, `Cannot guard ${symbol}()`);
  nameSlot(slot, Object.freeze({ library: "faultline", symbol }));
  const thunk = {
    index: slot,
    name: `fl_t${slot}`,
    address: functions.fl_thunk_address!(slot) as bigint,
    parameters: parameterTypes,
    result: result.ctype,
  };
  const [bound] = runtime.bindThunks(path, [thunk]).functions;
  const signature = { library: "faultline", symbol, parameters, parameterTypes, result };
  return guardedFunction(signature, bound!, ready, pointerConversions(ready), () => null).call;
}

let copyFrom: CFunction | undefined;
let copyTo: CFunction | undefined;

/**
 * Copies `into.byteLength` bytes of this process's memory into `into`, or throws where the process
 * would crash. All or nothing: every page is tried before the first byte is copied, so that nothing
 * is copied when it throws. Only when another thread takes the memory away during the copy may a
 * part of it have been copied.
 *
 * The access itself is the test: no system call, and no moment between check and use. `into` may
 * overlap what is read. The handlers are installed by the first call.
 *
 * @param address Where to read; need not be aligned.
 * @param into What to fill. When it is empty, nothing is accessed.
 * @throws {HardwareException} If a byte cannot be read. `info` is what the CPU reported:
 * `SEGV_MAPERR`, `SEGV_ACCERR` or `BUS_ADRERR` with `address` that of the first such byte;
 * `SI_KERNEL` without an address where `address` is not canonical.
 * @throws {TypeError} If `address` is no bigint, or `into` no Uint8Array, or detached.
 * @throws {RangeError} If the range is not within 0 to 2 ** 64.
 *
 * @example Usage
 * ```ts
 * import { addressOf, HardwareException, readMemory } from "faultline";
 *
 * const copy = new Uint8Array(5);
 * readMemory(addressOf(new TextEncoder().encode("hello")), copy);
 * console.log(new TextDecoder().decode(copy)); // hello
 * try {
 *   readMemory(16n, copy);
 * } catch (error) {
 *   if (!(error instanceof HardwareException)) throw error;
 *   console.log(error.code, error.info.access, error.info.address); // SEGV_MAPERR read 16n
 * }
 * ```
 */
export function readMemory(address: bigint, into: Uint8Array): void {
  checkBytes("read memory", "into", into);
  const { byteLength } = into;
  checkRange("read memory", address, byteLength);
  if (byteLength === 0) return;
  copyFrom ??= openCopy("readMemory");
  copyFrom(address, into, byteLength);
}

/**
 * Copies `from` to memory of this process, or throws where the process would crash. All or nothing:
 * every page is tried before the first byte is copied, by an atomic write that changes no value, so
 * that nothing is written when it throws. Only when another thread takes the memory away during the
 * copy may a part of it have been written.
 *
 * `from` may overlap what is written. The handlers are installed by the first call.
 *
 * @param address Where to write; need not be aligned.
 * @param from What to write. When it is empty, nothing is accessed.
 * @throws {HardwareException} If a byte cannot be written. `info` is what the CPU reported:
 * `SEGV_MAPERR`, `SEGV_ACCERR` or `BUS_ADRERR` with `address` that of the first such byte;
 * `SI_KERNEL` without an address where `address` is not canonical.
 * @throws {TypeError} If `address` is no bigint, or `from` no Uint8Array, or detached.
 * @throws {RangeError} If the range is not within 0 to 2 ** 64.
 *
 * @example Usage
 * ```ts
 * import { addressOf, catchException, writeMemory } from "faultline";
 *
 * const bytes = new Uint8Array(4);
 * writeMemory(addressOf(bytes) + 1n, Uint8Array.of(7, 8));
 * console.log(bytes.join()); // 0,7,8,0
 * const result = catchException(() => writeMemory(0n, bytes));
 * if (!result.ok) console.log(result.error.code, result.error.info.access); // SEGV_MAPERR write
 * ```
 */
export function writeMemory(address: bigint, from: Uint8Array): void {
  checkBytes("write memory", "from", from);
  const { byteLength } = from;
  checkRange("write memory", address, byteLength);
  if (byteLength === 0) return;
  copyTo ??= openCopy("writeMemory");
  copyTo(address, from, byteLength);
}

/**
 * Whether every byte of a range can be read now. Another thread may change that at any time: to
 * read memory that may be taken away, call `readMemory` and catch.
 *
 * One byte of each page is read, without a system call, and no exception is made when that fails.
 * Bad addresses come in runs, so the call after one asks the kernel first, which costs less than
 * another fault. An empty range is readable. The handlers are installed by the first call.
 *
 * @throws {TypeError} If `range` is no object with a bigint and a number.
 * @throws {RangeError} If the range is not within 0 to 2 ** 64.
 *
 * @example Usage
 * ```ts
 * import { addressOf, isReadable } from "faultline";
 *
 * const bytes = new Uint8Array(16);
 * console.log(isReadable({ address: addressOf(bytes), byteLength: 16 })); // true
 * console.log(isReadable({ address: 0n, byteLength: 1 })); // false
 * ```
 */
export function isReadable(range: MemoryRange): boolean {
  const { address, byteLength } = takeRange("ask whether memory is readable", range);
  if (byteLength === 0) return true;
  const result = native().functions.fl_is_readable!(address, byteLength) as number;
  checkStatus(result, "Cannot ask whether memory is readable");
  return result === 1;
}

/**
 * Changes what may be done with memory. Protection belongs to whole pages: `address` need not be
 * aligned, and every page that the range touches changes, so that two bytes can change 8,192.
 *
 * When a page of them is not mapped, nothing is changed. When the system refuses one for another
 * reason (`EACCES`: a file that was opened for reading would become writable), pages before it may
 * have changed already.
 *
 * @param range What to change. When it is empty, nothing is.
 * @param protection What may be done from now on.
 * @returns What could be done with the first page before, for putting it back; `---` also for an
 * empty range where nothing is mapped. Protections without a name in `Protection` are given with
 * the right to read that they lack: `-w-` as `rw-`, `--x` as `r-x`, `-wx` as `rwx`.
 * @throws {Error} If the system refuses, with the errno's name as `code`: `ENOMEM` when a page is
 * not mapped.
 * @throws {TypeError} If `range` is no object with a bigint and a number, or `protection` none of
 * the five.
 * @throws {RangeError} If the range is not within 0 to 2 ** 64.
 *
 * @example Usage
 * ```ts
 * import { addressOf, catchException, protect, writeMemory } from "faultline";
 *
 * // Three pages, of which the middle one holds nothing else.
 * const bytes = new Uint8Array(3 * 4096);
 * const address = (addressOf(bytes) + 4095n) & ~4095n;
 * const before = protect({ address, byteLength: 4096 }, "r--");
 * const result = catchException(() => writeMemory(address, Uint8Array.of(1)));
 * console.log(before, result.ok ? "written" : result.error.code); // rw- SEGV_ACCERR
 * protect({ address, byteLength: 4096 }, before);
 * ```
 */
export function protect(range: MemoryRange, protection: Protection): Protection {
  const { address, byteLength } = takeRange("protect memory", range);
  checkProtection("protect memory", protection);
  if (byteLength === 0) return mappingOf(address)?.protection ?? "---";
  const before = new Uint32Array(1);
  const { functions } = native();
  const errno = functions.fl_protect!(address, byteLength, bitsOf[protection], before) as number;
  checkStatus(errno, "Cannot protect memory");
  if (errno !== 0) {
    throw systemError(
      "mprotect",
      errno,
      `Cannot make ${byteLength} bytes at 0x${address.toString(16)} ${protection} as the system ` +
        "refuses it",
    );
  }
  return protectionOf(before[0]!);
}

/**
 * The address of a view's first byte; `byteOffset` counts. It holds as long as the view's buffer
 * is referenced and neither transferred nor resized: keep it while native code has the address.
 *
 * @returns The address, also of an empty view; `0n` when its whole buffer is empty.
 * @throws {TypeError} If `view` is no view of a buffer, or detached.
 *
 * @example Usage
 * ```ts
 * import { addressOf } from "faultline";
 *
 * const bytes = new Uint8Array(16);
 * console.log(addressOf(bytes.subarray(3)) - addressOf(bytes)); // 3n
 * ```
 */
export function addressOf(view: ArrayBufferView): bigint {
  if (!ArrayBuffer.isView(view)) {
    throw new TypeError(
      "Cannot take an address as view must be a typed array or a DataView: current value is " +
        describeValue(view),
    );
  }
  // Asking for the buffer also makes the engine move a small array out of its heap, where the
  // address would not hold.
  checkAttached("take an address", "view", view);
  const { runtime, functions } = native();
  const empty = view.byteLength === 0;
  const known = empty ? new Uint8Array(view.buffer) : view;
  if (known.byteLength === 0) return 0n;
  const address = runtime.addressOf(runtime.pointerTo(known, functions), functions);
  return empty ? address + BigInt(view.byteOffset) : address;
}

const decoder = new TextDecoder();

/**
 * The mapping that holds an address, from the system's list of this process's mappings.
 *
 * @returns The mapping; null when nothing is mapped there. `path` is the text that the system
 * gives: a file's path (with " (deleted)" behind it when the file was removed), a name such as
 * `[heap]` or `[stack]`, or null for other memory without a file. Protections without a name in
 * `Protection` are given with the right to read that they lack: `-w-` as `rw-`, `--x` as `r-x`,
 * `-wx` as `rwx`.
 * @throws {TypeError} If `address` is no bigint.
 * @throws {RangeError} If `address` is not within 0 to 2 ** 64 - 1.
 *
 * @example Usage
 * ```ts
 * import { addressOf, mappingOf } from "faultline";
 *
 * const mapping = mappingOf(addressOf(new Uint8Array(16)));
 * console.log(mapping?.protection, mappingOf(0n)); // rw- null
 * ```
 */
export function mappingOf(
  address: bigint,
): { range: MemoryRange; protection: Protection; path: string | null } | null {
  checkAddress("look up a mapping", address);
  const bytes = new Uint8Array(mappingLayout.byteLength);
  const found = native().functions.fl_mapping_of!(address, bytes, bytes.byteLength) as number;
  checkStatus(found, "Cannot look up a mapping");
  if (found === 0) return null;
  const view = new DataView(bytes.buffer);
  const start = view.getBigUint64(mappingLayout.start.offset, true);
  const end = view.getBigUint64(mappingLayout.end.offset, true);
  const pathStart = mappingLayout.path.offset;
  const pathEnd = pathStart + view.getUint32(mappingLayout.path_length.offset, true);
  return {
    range: { address: start, byteLength: Number(end - start) },
    protection: protectionOf(view.getUint32(mappingLayout.protection.offset, true)),
    path: pathEnd === pathStart ? null : decoder.decode(bytes.subarray(pathStart, pathEnd)),
  };
}
