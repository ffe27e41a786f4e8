/**
 * Finds, opens and checks the native library; the only way to native code. Importing this module
 * opens nothing: the first use does.
 *
 * @module
 */
import { abiHash, nativeStatus, symbols, threadRecordLayout } from "./abi.ts";
import { FaultlineError } from "./faultline_error.ts";
import {
  checkLibraryPath,
  chooseLibrary,
  type LibraryOrigin,
  openLibraryFile,
  packageFile,
} from "./native_library.ts";
import { bun } from "./runtime/bun.ts";
import { deno } from "./runtime/deno.ts";
import type { CSignature, NativeFunctions, Runtime } from "./runtime/types.ts";

/** The native library, ready for this thread. */
export interface Native {
  readonly runtime: Runtime;
  readonly functions: NativeFunctions;
  /** Where the library was found. */
  readonly path: string;
  /** How it was found. */
  readonly origin: LibraryOrigin;
  readonly record: ThreadRecord;
}

/** Views over a record, which the trampoline and the handler write. */
export interface RecordViews {
  readonly i8: Int8Array;
  readonly u8: Uint8Array;
  readonly i16: Int16Array;
  readonly u16: Uint16Array;
  readonly i32: Int32Array;
  readonly u32: Uint32Array;
  readonly i64: BigInt64Array;
  readonly u64: BigUint64Array;
  readonly f32: Float32Array;
  readonly f64: Float64Array;
}

/** Where an exception lies that hooks were asked about, and the call that it happened in. */
export interface HookedBytes {
  readonly chunk: DataView;
  readonly offset: number;
  readonly call: { readonly library: string; readonly symbol: string };
}

/** This thread's record. */
export interface ThreadRecord extends RecordViews {
  /** Where the handler writes exceptions now; referenced here, so that it stays alive. */
  chunk: DataView;
  /** The exceptions that hooks look at now or looked at last, by how deep the hooks run. */
  readonly hooked: HookedBytes[];
  /** What a callback or a hook threw, until a guarded call takes it. */
  thrown: { readonly value: unknown } | null;
}

let opened: Native | undefined;

/** The native library; opened and attached to this thread at first use. */
export function native(): Native {
  if (opened === undefined) {
    opened = open();
    for (const body of whenOpened) body();
  }
  return opened;
}

const whenOpened: (() => void)[] = [];

/** Runs `body` when the native library is opened on this thread. */
export function whenNativeOpens(body: () => void): void {
  if (opened === undefined) whenOpened.push(body);
  else body();
}

/** Whether the native library is open on this thread; asking does not open it. */
export function isNativeOpen(): boolean {
  return opened !== undefined;
}

/** The kernel's id of this thread. */
export function currentThreadId(): number {
  return native().functions.fl_thread_id!() as number;
}

/**
 * Makes the first use take the native library from `path`.
 *
 * @throws {TypeError} If it is neither an absolute path nor a file URL.
 * @throws {Error} If the library was opened on this thread already, from elsewhere.
 */
export function useLibrary(path: string | URL): void {
  const file = checkLibraryPath(path);
  if (opened !== undefined && opened.path !== file) {
    throw new Error(
      `Cannot take the native library from ${file} as this thread uses ${opened.path} already: ` +
        "give libraryPath to install() before anything else is called",
    );
  }
  chooseLibrary(file);
}

/** Where the package has its native library for this platform; null where it lies in no file. */
export function nativePath(): string | null {
  return packageFile(platformName(), "faultline.so");
}

/** The platform by Node's names, as in "linux-x64"; asking opens nothing. */
export function platformName(): string {
  return (bun ?? deno)?.platform ?? "an unknown runtime";
}

/**
 * Opens the symbols library.
 *
 * @param check Why the opened library does not fit; null when it does.
 */
export function openSymbolsLibrary(
  signatures: Readonly<Record<string, CSignature>>,
  check: (functions: NativeFunctions) => string | null,
): { readonly path: string; readonly functions: NativeFunctions } {
  const beside = opened?.path ?? null;
  const request = { name: "faultline_symbols.so", signatures, beside, check } as const;
  return openLibraryFile(runtime(), request);
}

/** The runtime that this program runs in. */
export function runtime(): Runtime {
  const found = bun ?? deno;
  if (found === null) {
    throw new Error(
      "Cannot use Faultline in this runtime as its foreign function interface is not known: run " +
        "the program with Bun or Deno",
    );
  }
  return found;
}

function open(): Native {
  const host = runtime();
  const { path, origin, functions } = openLibraryFile(host, {
    name: "faultline.so",
    signatures: symbols,
    beside: null,
    check: ({ fl_abi_hash }) =>
      fl_abi_hash!() === abiHash ? null : "its ABI is not the one that these files expect",
  });
  return { runtime: host, functions, path, origin, record: attach(functions) };
}

/**
 * One record per thread and ABI, also when two copies of this module run in it: the thunks know one
 * record only, and must not write to another copy's.
 */
function attach(functions: NativeFunctions): ThreadRecord {
  const key = Symbol.for(`faultline.record.${abiHash.toString(16)}`);
  const holder = globalThis as unknown as Record<symbol, ThreadRecord | undefined>;
  const existing = holder[key];
  const record = existing ?? createRecord();
  const status = functions.fl_attach!(record.u8, record.u8.byteLength) as number;
  const what = "Cannot prepare this thread for guarded calls";
  if (status === nativeStatus.shadow_stack) {
    throw new FaultlineError("NOT_SUPPORTED", `${what} ${shadowStackReason}`);
  }
  checkStatus(status, what);
  if (existing === undefined) {
    replaceChunk(functions, record);
    Object.defineProperty(holder, key, { value: record, configurable: true });
  }
  return record;
}

const chunkLength = 128 * 1024;
const chunkUsedIndex = threadRecordLayout.chunk_used.offset / 4;
const exceptionOffsetIndex = threadRecordLayout.exception_offset.offset / 4;
const exceptionMaxIndex = threadRecordLayout.exception_size_max.offset / 4;

function replaceChunk(functions: NativeFunctions, record: ThreadRecord): void {
  const chunk = new Uint8Array(chunkLength);
  checkStatus(
    functions.fl_give_chunk!(record.u8, chunk, chunk.byteLength) as number,
    "Cannot give the handler memory for exceptions",
  );
  record.chunk = new DataView(chunk.buffer);
}

/**
 * Takes the pending exception: where the handler wrote it. The bytes stay valid as long as the
 * chunk is referenced; a chunk without room for another exception is replaced, never written again.
 *
 * @param wasHooked Whether hooks were asked about it: other exceptions may have come since.
 */
export function takeException(
  ready: Native,
  wasHooked: boolean,
): { chunk: DataView; offset: number } {
  const { record } = ready;
  const offset = record.u32[exceptionOffsetIndex]!;
  if (wasHooked) return record.hooked[offset]!;
  const chunk = record.chunk;
  makeRoom(ready);
  return { chunk, offset };
}

/** Replaces the chunk when it has no room for another exception. */
export function makeRoom({ functions, record }: Native): void {
  const free = chunkLength - record.u32[chunkUsedIndex]!;
  if (free < record.u32[exceptionMaxIndex]!) replaceChunk(functions, record);
}

function createRecord(): ThreadRecord {
  // Shared memory never moves and is never detached: native code keeps its address.
  const buffer = new SharedArrayBuffer(threadRecordLayout.byteLength);
  const chunk = new DataView(new ArrayBuffer(0));
  return { ...recordViews(buffer), chunk, hooked: [], thrown: null };
}

/** Views over a record, which may be the head of a call block. */
export function recordViews(buffer: ArrayBufferLike): RecordViews {
  return {
    i8: new Int8Array(buffer),
    u8: new Uint8Array(buffer),
    i16: new Int16Array(buffer),
    u16: new Uint16Array(buffer),
    i32: new Int32Array(buffer),
    u32: new Uint32Array(buffer),
    i64: new BigInt64Array(buffer),
    u64: new BigUint64Array(buffer),
    f32: new Float32Array(buffer),
    f64: new Float64Array(buffer),
  };
}

const shadowStackReason =
  "as the kernel checks its returns against a shadow stack, which a recovery would not pop: " +
  "start the program without one, with GLIBC_TUNABLES=glibc.cpu.x86_shstk=off, or on arm64 with " +
  "GLIBC_TUNABLES=glibc.cpu.aarch64_gcs=0";

const statusReasons: Readonly<Record<number, string>> = {
  [nativeStatus.invalid_argument]: "an argument was refused",
  [nativeStatus.no_memory]: "the system has no memory left",
  [nativeStatus.too_many_threads]: "too many threads use the library already",
  [nativeStatus.no_free_slot]: "every thunk is taken; close libraries that are not used any more",
  [nativeStatus.foreign_handler]: "another handler was installed over ours",
  [nativeStatus.not_found]: "it was not found",
  [nativeStatus.not_supported]: "this platform does not support it",
  [nativeStatus.system_call_failed]: "a system call was refused",
};

/** Throws an Error that begins with `what` when a native function reported a failure. */
export function checkStatus(status: number, what: string): void {
  if (status < 0) throw new Error(`${what}: ${statusReasons[status] ?? `status ${status}`}`);
}
