/**
 * Opens a library whose calls have recovery points.
 *
 * @module
 */
import { fileURLToPath } from "node:url";
import { type ParsedDefinition, parseDefinitions, parseOptions } from "./definition.ts";
import { FaultlineError } from "./faultline_error.ts";
import { type GuardedFunction, guardedFunction } from "./guarded_call.ts";
import { checkStatus, type Native, native } from "./native.ts";
import type {
  NativeArgument,
  NativeResult,
  NativeType,
  PointerConversions,
} from "./native_type.ts";
import { type BoundThunks, LibraryOpenError, type OpenedLibrary } from "./runtime/types.ts";
import type { SignalName } from "./signal_table.ts";

/** How exceptions of a call are treated; for a symbol, or for all symbols of a library. */
export interface CallOptions {
  /**
   * What to catch, in place of the default: SIGSEGV, SIGBUS, SIGFPE, SIGILL and SIGTRAP, when the
   * kernel raised them. A signal named here is caught also when the library raises it itself
   * (abort, assert, raise).
   */
  readonly signals?: readonly SignalName[];
}

/** A function of a library, in Deno's spelling. */
export interface ForeignFunction extends CallOptions {
  readonly parameters?: readonly NativeType[];
  readonly result?: NativeType;
  /** Name in the library, when it differs from the key. */
  readonly name?: string;
  /** A missing symbol becomes undefined instead of an error at open. */
  readonly optional?: boolean;
}

/** The functions of a library, by the names they are to have in `symbols`. */
export type ForeignSymbols = Record<string, ForeignFunction>;

/** The JavaScript function that a definition gives. */
export type ForeignCall<F> = PortableCall<
  F,
  F extends { readonly parameters: infer P } ? P : readonly []
>;
type PortableCall<F, P> = (
  ...args: P extends readonly unknown[] ? { -readonly [I in keyof P]: NativeArgument<P[I]> } : []
) => F extends { readonly result: infer R } ? NativeResult<R> : void;
type OptionalSymbol<F> = F extends { readonly optional: true } ? ForeignCall<F> | undefined
  : ForeignCall<F>;

/** A library whose calls have recovery points. */
export interface ForeignLibrary<S extends ForeignSymbols> extends Disposable {
  readonly symbols: { readonly [K in keyof S]: OptionalSymbol<S[K]> };
  /** Exceptions caught in calls into this library through this handle. */
  readonly exceptionCount: number;
  /** Refuses further calls, and unloads the library after the last call in flight. */
  close(): void;
}

/**
 * Opens a library. Its functions are called as through the runtime's own `dlopen`, and a hardware
 * exception in one of them is thrown as a `HardwareException` instead of ending the process. The
 * handlers are installed by the first call.
 *
 * Recovery leaves the library as the exception found it: locks stay held, memory stays allocated,
 * data may be half written. See "What recovery does not promise" in the README.
 *
 * @param path A path, a name that the loader searches, or a file URL.
 * @param symbols Definitions by name. Results, in Deno's spelling, default to void.
 * @param options Apply to every symbol that does not say otherwise.
 * @throws {TypeError} If a definition or an option is wrong, before anything is opened.
 * @throws {Error} With code LIBRARY_NOT_FOUND if the loader cannot open the library,
 * SYMBOL_NOT_FOUND if it lacks a symbol that is not optional; without a code if a permission is
 * missing (the message names the flag) or every thunk is taken.
 *
 * @example Usage
 * ```ts
 * import { dlopen } from "faultline";
 *
 * using libm = dlopen("libm.so.6", { cos: { parameters: ["f64"], result: "f64" } });
 * console.log(libm.symbols.cos(0)); // 1
 * ```
 */
export function dlopen<const S extends ForeignSymbols>(
  path: string | URL,
  symbols: S,
  options?: CallOptions,
): ForeignLibrary<S> {
  const file = libraryPath(path);
  const definitions = parseDefinitions(symbols, file, parseOptions(options, file));
  const ready = native();
  const opened = openLibrary(file, ready);
  try {
    return new GuardedLibrary(ready, opened, definitions) as unknown as ForeignLibrary<S>;
  } catch (error) {
    opened.close();
    throw error;
  }
}

function libraryPath(path: string | URL): string {
  if (path instanceof URL) return fileURLToPath(path);
  if (typeof path !== "string" || path === "" || path.includes("\0")) {
    throw new TypeError(
      `Cannot open a library as its path must be a string that is not empty, or a file URL: ` +
        `current value is ${typeof path === "string" ? JSON.stringify(path) : String(path)}`,
    );
  }
  return path;
}

function openLibrary(file: string, { runtime, functions }: Native): OpenedLibrary {
  try {
    return runtime.openLibrary(file, functions);
  } catch (error) {
    if (!(error instanceof LibraryOpenError)) throw error;
    throw new FaultlineError(
      "LIBRARY_NOT_FOUND",
      `Cannot open ${file} as the loader refuses it: ${error.message}`,
      { cause: error },
    );
  }
}

/** Frees the slots of functions that were collected without being closed. */
const collected = new FinalizationRegistry<number>((slot) => releaseSlot(native(), slot));

function releaseSlot({ functions }: Native, slot: number): void {
  functions.fl_slot_close!(slot);
  functions.fl_slot_release!(slot);
}

/** One handle on a library: its slots, its wrappers, and their end. */
class GuardedLibrary implements Disposable {
  readonly symbols: Readonly<Record<string, unknown>>;
  readonly #native: Native;
  readonly #library: OpenedLibrary;
  readonly #slots: number[] = [];
  readonly #wrappers: GuardedFunction[] = [];
  readonly #tokens: object[] = [];
  #thunks: BoundThunks = { functions: [], close: () => {} };
  #exceptionCount = 0;
  #closed = false;

  constructor(ready: Native, library: OpenedLibrary, definitions: readonly ParsedDefinition[]) {
    this.#native = ready;
    this.#library = library;
    const addresses = library.symbolAddresses(definitions.map(({ signature }) => signature.symbol));
    const found = definitions.filter((definition, index) => {
      if (addresses[index] !== null) return true;
      if (definition.optional) return false;
      const { library: file, symbol } = definition.signature;
      throw new FaultlineError(
        "SYMBOL_NOT_FOUND",
        `Cannot find ${symbol} in ${file}: check its spelling, or define it as optional`,
      );
    });
    const targets = addresses.filter((address) => address !== null);
    try {
      this.#openSlots(found, targets);
      this.#bind(found);
    } catch (error) {
      this.#releaseSlots();
      throw error;
    }
    const wrappers = new Map(found.map(({ key }, index) => [key, this.#wrappers[index]!.call]));
    this.symbols = Object.freeze(
      Object.fromEntries(definitions.map(({ key }) => [key, wrappers.get(key)])),
    );
  }

  get exceptionCount(): number {
    return this.#exceptionCount;
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    for (const wrapper of this.#wrappers) wrapper.close();
    this.#finish();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  #openSlots(definitions: readonly ParsedDefinition[], targets: readonly bigint[]): void {
    const { functions } = this.#native;
    definitions.forEach(({ signature, caught, raised }, index) => {
      const slot = functions.fl_slot_open!(targets[index]!, caught, raised) as number;
      checkStatus(slot, `Cannot guard ${signature.symbol}() of ${signature.library}`);
      this.#slots.push(slot);
    });
  }

  #bind(definitions: readonly ParsedDefinition[]): void {
    const { runtime, functions, path } = this.#native;
    const thunks = definitions.map(({ signature }, index) => ({
      index: this.#slots[index]!,
      address: functions.fl_thunk_address!(this.#slots[index]!) as bigint,
      parameters: signature.parameters.map(({ ctype }) => ctype),
      result: runtime.voidResults ? "void" as const : signature.result.ctype,
    }));
    this.#thunks = runtime.bindThunks(path, thunks);
    const pointers = pointerConversions(this.#native);
    const count = (): void => void this.#exceptionCount++;
    definitions.forEach(({ signature }, index) => {
      const target = this.#thunks.functions[index]!;
      const wrapper = guardedFunction(signature, target, this.#native, pointers, count);
      const token = {};
      collected.register(wrapper.call, this.#slots[index]!, token);
      this.#wrappers.push(wrapper);
      this.#tokens.push(token);
    });
  }

  #releaseSlots(): void {
    for (const token of this.#tokens) collected.unregister(token);
    for (const slot of this.#slots) releaseSlot(this.#native, slot);
  }

  /** Unloads once no call is in flight: one may be when a callback of it closes the library. */
  #finish(): void {
    const { functions } = this.#native;
    if (this.#slots.some((slot) => functions.fl_slot_in_flight!(slot) !== 0)) {
      setTimeout(() => this.#finish(), 1);
      return;
    }
    this.#releaseSlots();
    this.#thunks.close();
    this.#library.close();
  }
}

/** What of this runtime the conversions of arguments need. */
export function pointerConversions(ready: Native): PointerConversions {
  const { runtime, functions } = ready;
  return {
    isPointer: runtime.isPointer,
    barrierOf: (pointer) => barrierOf(ready, pointer),
    pointerTo: (view) => runtime.pointerTo(view, functions),
    pointerFrom: (address) => runtime.pointerFrom(address, functions),
    bufferArgument: runtime.bufferArgument,
  };
}

/** Barriers by the pointer value that was passed, so that a call pays for them once. */
const barriersByNumber = new Map<number, unknown>();
const barriersByObject = new WeakMap<object, unknown>();

function barrierOf({ runtime, functions }: Native, pointer: unknown): unknown {
  const cache = typeof pointer === "number" ? barriersByNumber : barriersByObject;
  const known = cache.get(pointer as number & object);
  if (known !== undefined) return known;
  const address = runtime.addressOf(pointer, functions);
  const barrier = functions.fl_barrier!(address) as bigint;
  if (address !== 0n && barrier === 0n) {
    throw new Error(
      "Cannot pass another function to native code as every barrier is taken: pass the same " +
        "function again instead of making a new one for each call",
    );
  }
  const value = runtime.pointerFrom(barrier, functions);
  if (value !== null) cache.set(pointer as number & object, value);
  return value;
}
