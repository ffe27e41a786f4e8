/**
 * What a JavaScript runtime must offer. One file per runtime implements it; nothing else in the
 * project names a runtime.
 *
 * @module
 */

/** C types that cross the boundary. Pointers to our own memory travel as `buffer`. */
export type CType =
  | "void"
  | "i32"
  | "u32"
  | "i64"
  | "u64"
  | "f32"
  | "f64"
  | "pointer"
  | "buffer";

/** Signature of one C function. */
export interface CSignature {
  readonly parameters: readonly CType[];
  readonly result: CType;
}

/** A function that leads into native code. */
export type CFunction = (...args: unknown[]) => unknown;

/** A thunk of the native library, to be bound under a signature. */
export interface ThunkBinding extends CSignature {
  /** Its exported name. */
  readonly name: string;
  /** Index of the thunk. */
  readonly index: number;
  /** Its address, for runtimes that bind functions by address. */
  readonly address: bigint;
}

/** A JavaScript function behind a C address. */
export interface NativeCallback {
  readonly address: bigint;
  close(): void;
}

/** Thunks that were bound together. */
export interface BoundThunks {
  readonly functions: readonly CFunction[];
  /** Releases what the runtime keeps for them. They must not be called any more. */
  close(): void;
}

/** A user's library. */
export interface OpenedLibrary {
  /** Addresses of the symbols in the order of `names`; null where the library has none. */
  symbolAddresses(names: readonly string[]): readonly (bigint | null)[];
  close(): void;
}

/** The native library's own functions, by name. */
export type NativeFunctions = Readonly<Record<string, CFunction>>;

/** Why a library could not be opened, in the loader's words. */
export class LibraryOpenError extends Error {
  override readonly name = "LibraryOpenError";
}

/** One JavaScript runtime. */
export interface Runtime {
  readonly name: "bun" | "deno";
  /**
   * Whether calls that may end in JavaScript have to be declared void. Deno aborts the process when
   * a function with a result calls back and its caller was deoptimised meanwhile.
   */
  readonly voidResults: boolean;
  /** Opens the native library at `path` and binds its functions. */
  openNative(path: string, signatures: Readonly<Record<string, CSignature>>): NativeFunctions;
  /** Opens another library of this package, which needs no more than its own functions. */
  openFunctions(path: string, signatures: Readonly<Record<string, CSignature>>): NativeFunctions;
  /** Opens a user's library; throws `LibraryOpenError`. */
  openLibrary(path: string, native: NativeFunctions): OpenedLibrary;
  bindThunks(path: string, thunks: readonly ThunkBinding[]): BoundThunks;
  /** What `buffer` parameters take for a view. */
  bufferArgument(view: ArrayBufferView): unknown;
  /** What `pointer` parameters take: the runtime's own pointer value for a buffer's address. */
  pointerTo(view: ArrayBufferView, native: NativeFunctions): unknown;
  /** The address of a view's first byte; 0n when it is empty. */
  addressOfBuffer(view: ArrayBufferView, native: NativeFunctions): bigint;
  /**
   * A buffer over native memory, which stays native code's. A RangeError when it is longer than the
   * runtime's buffers can be. Needs, in Deno, an unscoped `--allow-ffi`.
   */
  bufferOver(address: bigint, byteLength: number, native: NativeFunctions): ArrayBuffer;
  /** A C function that runs `body` on this thread. Needs, in Deno, an unscoped `--allow-ffi`. */
  createCallback(
    signature: CSignature,
    body: CFunction,
    native: NativeFunctions,
  ): NativeCallback;
  /** Runs an opened block on another thread; settles when it has run. */
  runBlock(handle: bigint, native: NativeFunctions): Promise<void>;
  /** How many arguments a bound function can take. */
  readonly argumentsMax: number;
  /** How much of a thread's stack there may be below a callback. Past it, the engine may abort. */
  readonly stackMax: number;
  /** The address of a pointer value of this runtime. */
  addressOf(pointer: unknown, native: NativeFunctions): bigint;
  /** The runtime's own pointer value for an address, null for 0. */
  pointerFrom(address: bigint, native: NativeFunctions): unknown;
  /** Whether `value` is a pointer value of this runtime (not null). */
  isPointer(value: unknown): boolean;
  /** Whether the user set NO_COLOR; asking needs no permission. */
  noColor(): boolean;
  /** Whether a file may be read without a question to the user. */
  mayRead(path: string): boolean;
}
