/**
 * Opens a library whose calls have recovery points.
 *
 * @module
 */
import { builtin } from "./builtin.ts";
import {
  type ParsedDefinition,
  parseDefinitions,
  type ParsedSymbol,
  parseOptions,
} from "./definition.ts";
import { describeValue } from "./describe_value.ts";
import { FaultlineError } from "./faultline_error.ts";
import type { CallOptions, ForeignSymbols, OptionalSymbol } from "./foreign.ts";
import { readStatic } from "./foreign_static.ts";
import { type GuardedFunctions, guardedFunctions } from "./guarded_functions.ts";
import { type Native, native } from "./native.ts";
import { LibraryOpenError, type OpenedLibrary } from "./runtime/types.ts";
import { symbolAddresses } from "./symbol_addresses.ts";

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
 * @param symbols Definitions by name: functions in Deno's spelling or Bun's, and variables. Results
 * default to void.
 * @param options Apply to every symbol that does not say otherwise.
 * @throws {TypeError} If a definition or an option is wrong, before anything is opened.
 * @throws {Error} With code LIBRARY_NOT_FOUND if the loader cannot open the library,
 * SYMBOL_NOT_FOUND if it lacks a symbol that is not optional; without a code if a permission is
 * missing (the message names the flag) or every thunk is taken.
 * @throws {HardwareException} If a variable cannot be read.
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
  const file = path instanceof URL ? builtin("node:url").fileURLToPath(path) : path;
  if (typeof file !== "string" || file === "" || file.includes("\0")) {
    throw new TypeError(
      `Cannot open a library as its path must be a string that is not empty and has no NUL, or a ` +
        `file URL: current value is ${describeValue(file)}`,
    );
  }
  return file;
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

/** One handle on a library. */
class GuardedLibrary implements Disposable {
  readonly symbols: Readonly<Record<string, unknown>>;
  readonly #library: OpenedLibrary;
  readonly #functions: GuardedFunctions;
  #exceptionCount = 0;
  #closed = false;

  constructor(ready: Native, library: OpenedLibrary, definitions: readonly ParsedSymbol[]) {
    this.#library = library;
    const addresses = symbolAddresses(library, definitions);
    const values = new Map<string, unknown>();
    const found: ParsedDefinition[] = [];
    const targets: bigint[] = [];
    definitions.forEach((definition, index) => {
      const address = addresses[index]!;
      if (address === null) return;
      if ("type" in definition) {
        values.set(definition.key, readStatic(ready, definition, address));
      } else {
        found.push(definition);
        targets.push(address);
      }
    });
    const count = (): void => void this.#exceptionCount++;
    this.#functions = guardedFunctions(ready, found, targets, count);
    found.forEach(({ key }, at) => values.set(key, this.#functions.functions[at]));
    this.symbols = Object.freeze(
      Object.fromEntries(definitions.map(({ key }) => [key, values.get(key)])),
    );
  }

  get exceptionCount(): number {
    return this.#exceptionCount;
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#functions.close();
    this.#finish();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  /** Unloads once no call is in flight: one may be when a callback of it closes the library. */
  #finish(): void {
    if (this.#functions.inFlight()) {
      setTimeout(() => this.#finish(), 1);
      return;
    }
    this.#functions.release();
    this.#library.close();
  }
}
