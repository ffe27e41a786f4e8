/**
 * Bun, through `bun:ffi`.
 *
 * @module
 */
import { nativeStatus } from "../abi.ts";
import { builtin } from "../builtin.ts";
import { bundledLibrary } from "../bundled_library.ts";
import {
  type BoundThunks,
  type CFunction,
  type CSignature,
  type CType,
  LibraryOpenError,
  type NativeCallback,
  type NativeFunctions,
  type OpenedLibrary,
  type Runtime,
  type ThunkBinding,
} from "./types.ts";

interface BunSignature {
  readonly args: readonly string[];
  readonly returns: string;
  readonly ptr?: number;
}
interface BunLibrary {
  readonly symbols: Readonly<Record<string, CFunction>>;
  close(): void;
}
/** The part of `bun:ffi` that is used; its own types would be a dependency. */
interface BunFfi {
  dlopen(path: string, symbols: Readonly<Record<string, BunSignature>>): BunLibrary;
  linkSymbols(symbols: Readonly<Record<string, BunSignature>>): BunLibrary;
  ptr(view: ArrayBufferView): number;
  toArrayBuffer(pointer: number, offset: number, length: number): ArrayBuffer;
  readonly JSCallback: new (body: CFunction, options: BunCallbackOptions) => BunCallback;
}
interface BunCallbackOptions extends BunSignature {
  readonly threadsafe?: boolean;
}
interface BunCallback {
  readonly ptr: number;
  close(): void;
}

// `u64_fast` would return a number when the value is small; `ptr` takes views without a detour.
const typeNames: Readonly<Record<CType, string>> = {
  void: "void",
  i32: "i32",
  u32: "u32",
  i64: "i64",
  u64: "u64",
  f32: "f32",
  f64: "f64",
  pointer: "ptr",
  buffer: "ptr",
};

/** The part of the global object that is used. */
interface Host {
  readonly Bun: { readonly isMainThread: boolean };
  readonly process: {
    getBuiltinModule(name: string): unknown;
    readonly versions: { readonly bun: string };
    readonly platform: string;
    readonly arch: string;
    readonly env: Readonly<Record<string, string | undefined>>;
  };
}

function host(): Host {
  return globalThis as unknown as Host;
}

let loaded: BunFfi | undefined;

function ffi(): BunFfi {
  if (loaded === undefined) {
    // Synchronous, invisible to bundlers, and not a load error in other runtimes.
    loaded = host().process.getBuiltinModule("bun:ffi") as BunFfi;
  }
  return loaded;
}

function signature({ parameters, result }: CSignature): BunSignature {
  return { args: parameters.map((type) => typeNames[type]), returns: typeNames[result] };
}

function text(value: string): Uint8Array {
  return new TextEncoder().encode(`${value}\0`);
}

function openLibrary(path: string, native: NativeFunctions): OpenedLibrary {
  const message = new Uint8Array(1024);
  const handle = native.fl_library_open!(text(path), message, message.byteLength) as bigint;
  if (handle === 0n) {
    throw new LibraryOpenError(new TextDecoder().decode(message.subarray(0, message.indexOf(0))));
  }
  return {
    symbolAddresses: (names) =>
      names.map((name) => {
        const address = native.fl_library_symbol!(handle, text(name)) as bigint;
        return address === 0n ? null : address;
      }),
    close: () => void native.fl_library_close!(handle),
  };
}

function bindThunks(_path: string, thunks: readonly ThunkBinding[]): BoundThunks {
  if (thunks.length === 0) return { functions: [], close: () => {} };
  const { linkSymbols } = ffi();
  const library = linkSymbols(
    Object.fromEntries(
      thunks.map((thunk, index) => [
        `f${index}`,
        { ...signature(thunk), ptr: Number(thunk.address) },
      ]),
    ),
  );
  return {
    functions: thunks.map((_, index) => library.symbols[`f${index}`]!),
    close: () => library.close(),
  };
}

function createCallback(definition: CSignature, body: CFunction): NativeCallback {
  const { JSCallback } = ffi();
  const callback = new JSCallback(body, signature(definition));
  return { address: BigInt(callback.ptr), close: () => callback.close() };
}

/** A block that runs, or that waits for room in the native queue. */
interface Waiting {
  readonly native: NativeFunctions;
  readonly resolve: () => void;
  submitted: boolean;
}

const waiting = new Map<bigint, Waiting>();
/** Rung when a block has run; 0 where this thread asks instead. */
let doorbell: bigint | undefined;
let keepAlive: ReturnType<typeof setInterval> | undefined;
/** How long a thread that asks waits between two questions. */
const askMs = { least: 1, most: 50 } as const;

/** Resolves whatever has run. Rings can merge, so every block is looked at. */
function answer(): void {
  for (const [handle, { native, resolve, submitted }] of waiting) {
    if (!submitted || native.fl_block_done!(handle) === 0) continue;
    waiting.delete(handle);
    resolve();
  }
  for (const [handle, one] of waiting) {
    if (!one.submitted && !submit(handle, one)) break;
  }
  if (waiting.size === 0) clearInterval(keepAlive);
}

/** False when the native queue has no room, which it will have when something in it has run. */
function submit(handle: bigint, one: Waiting): boolean {
  one.submitted = one.native.fl_block_submit!(handle, doorbell) === nativeStatus.ok;
  return one.submitted;
}

/**
 * One doorbell for the life of the thread: closing one that native code may ring is not safe. A
 * Worker has none, as Bun says nothing before it terminates one, and a ring after that reads what
 * was freed.
 */
function openDoorbell(): bigint {
  if (!host().Bun.isMainThread) return 0n;
  const { JSCallback } = ffi();
  return BigInt(new JSCallback(answer, { args: [], returns: "void", threadsafe: true }).ptr);
}

/** Asks what has run, and again later: the longer nothing has, the less often. */
function ask(sinceMs: number): void {
  const before = waiting.size;
  answer();
  if (waiting.size === 0) return;
  const nowMs = performance.now();
  const quietSinceMs = waiting.size < before ? nowMs : sinceMs;
  const delayMs = Math.min(Math.max((nowMs - quietSinceMs) / 8, askMs.least), askMs.most);
  keepAlive = setTimeout(ask, delayMs, quietSinceMs);
}

/** A threadsafe callback does not keep the event loop alive; a pending call has to. */
function stayAlive(): void {
  if (doorbell === 0n) {
    clearTimeout(keepAlive);
    keepAlive = setTimeout(ask, askMs.least, performance.now());
  } else if (waiting.size === 0) {
    keepAlive = setInterval(answer, 1000);
  }
}

function runBlock(handle: bigint, native: NativeFunctions): Promise<void> {
  doorbell ??= openDoorbell();
  stayAlive();
  return new Promise((resolve) => {
    const one = { native, resolve, submitted: false };
    waiting.set(handle, one);
    submit(handle, one);
  });
}

function openFunctions(
  path: string,
  signatures: Readonly<Record<string, CSignature>>,
): NativeFunctions {
  const definitions = Object.fromEntries(
    Object.entries(signatures).map(([name, value]) => [name, signature(value)]),
  );
  return ffi().dlopen(path, definitions).symbols;
}

/** Bun, or null elsewhere. */
export const bun: Runtime | null = "Bun" in globalThis
  ? {
    name: "bun",
    title: "Bun",
    version: host().process.versions.bun,
    platform: `${host().process.platform}-${host().process.arch}`,
    voidResults: false,
    openNative: openFunctions,
    openFunctions,
    openLibrary,
    bindThunks,
    // `ptr` refuses empty views, whose address is not wanted anyway.
    bufferArgument: (view: ArrayBufferView): unknown => view.byteLength === 0 ? null : view,
    pointerTo: (view: ArrayBufferView): unknown => view.byteLength === 0 ? null : ffi().ptr(view),
    addressOfBuffer: (view: ArrayBufferView): bigint =>
      view.byteLength === 0 ? 0n : BigInt(ffi().ptr(view)),
    bufferOver: (address: bigint, byteLength: number): ArrayBuffer =>
      ffi().toArrayBuffer(Number(address), 0, byteLength),
    createCallback,
    runBlock,
    // bun:ffi refuses more.
    argumentsMax: 32,
    stackMax: 2 ** 32 - 1,
    addressOf: (pointer: unknown): bigint => BigInt(pointer as number),
    pointerFrom: (address: bigint): unknown => address === 0n ? null : Number(address),
    isPointer: (value: unknown): boolean =>
      typeof value === "number" && Number.isSafeInteger(value) && value >= 0,
    noColor: (): boolean => Boolean(host().process.env["NO_COLOR"]),
    mayRead: (): boolean => true,
    permission: (): null => null,
    isPermissionError: (): boolean => false,
    environment: (name: string): string | undefined => host().process.env[name],
    moduleArguments: (url: string): readonly string[] => [builtin("node:url").fileURLToPath(url)],
    bundledLibrary,
  }
  : null;
