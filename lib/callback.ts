/**
 * JavaScript functions that native code may call.
 *
 * @module
 */
import { pending, threadRecordLayout } from "./abi.ts";
import { callbackClosed } from "./callback_brand.ts";
import { describeValue } from "./describe_value.ts";
import type { ForeignFunction } from "./foreign.ts";
import { type Native, native, runtime } from "./native.ts";
import {
  incomingType,
  nativeTypeNames,
  type ParameterCodec,
  parameterCodec,
  type PointerConversions,
} from "./native_type.ts";
import { pointerConversions } from "./pointers.ts";
import { prepareReads, readString } from "./guarded_read.ts";
import type { CSignature, NativeCallback } from "./runtime/types.ts";
import { hasThrown, noteThrown } from "./thrown.ts";

/**
 * A JavaScript function behind a C address.
 *
 * @example Usage
 * ```ts
 * import { type Callback, callback } from "faultline";
 *
 * const compare: Callback = callback({ parameters: ["address", "address"], result: "i32" }, () =>
 * 0); console.log(compare.address !== 0n); // true compare.close();
 * ```
 */
export interface Callback extends Disposable {
  /** Where native code calls it. */
  readonly address: bigint;
  /** Frees it. Native code that calls it all the same gets 0. */
  close(): void;
}

const pendingIndex = threadRecordLayout.pending.offset / 4;
const definitionNames: ReadonlySet<string> = new Set(["parameters", "result"]);

interface ParsedCallback {
  readonly signature: CSignature;
  readonly parameterTypes: readonly string[];
  /** null for void. */
  readonly result: ParameterCodec | null;
  readonly resultType: string;
}

function typeError(position: string, type: unknown): TypeError {
  return new TypeError(
    `Cannot make a callback as its ${position} has the type ${describeValue(type)}, which is not ` +
      `supported: use one of ${nativeTypeNames.join(", ")}`,
  );
}

function parse(definition: unknown): ParsedCallback {
  if (typeof definition !== "object" || definition === null || Array.isArray(definition)) {
    throw new TypeError("Cannot make a callback as its definition is not an object");
  }
  for (const name of Object.keys(definition)) {
    if (definitionNames.has(name)) continue;
    throw new TypeError(
      `Cannot make a callback as its definition has the property "${name}": a callback has only ` +
        `${[...definitionNames].join(" and ")}`,
    );
  }
  const { parameters = [], result = "void" } = definition as ForeignFunction;
  if (!Array.isArray(parameters)) {
    throw new TypeError("Cannot make a callback as its parameters are not an array of type names");
  }
  const types = Array.from(parameters, (type: unknown, index) => {
    const ctype = incomingType(type);
    if (ctype === undefined) throw typeError(`parameter ${index + 1}`, type);
    return ctype;
  });
  if (result === "cstring") {
    throw new TypeError(
      "Cannot make a callback as its result is a cstring, whose text nobody would keep alive: " +
        'return the "address" of memory that you keep',
    );
  }
  refuseTooMany(types);
  const codec = result === "void" ? null : parameterCodec(result);
  if (codec === undefined) throw typeError("result", result);
  return {
    // A pointer goes back as an address: the result is converted on this side.
    signature: { parameters: types, result: codec === null ? "void" : outgoing(codec) },
    parameterTypes: parameters.map(String),
    result: codec,
    resultType: result,
  };
}

/** A barrier passes on sixteen words of stack arguments, and the runtime has a limit of its own. */
const stackWordsMax = 16;

function refuseTooMany(types: readonly CSignature["result"][]): void {
  const floats = types.filter((type) => type === "f32" || type === "f64").length;
  const words = Math.max(0, floats - 8) + Math.max(0, types.length - floats - 6);
  const { argumentsMax } = runtime();
  if (words <= stackWordsMax && types.length <= argumentsMax) return;
  throw new TypeError(
    `Cannot make a callback as it has ${types.length} parameters, ${words} of them on the stack: ` +
      `at most ${Math.min(argumentsMax, 30)}, ${stackWordsMax} on the stack, are supported`,
  );
}

function outgoing(codec: ParameterCodec): CSignature["result"] {
  return codec.ctype === "pointer" || codec.ctype === "buffer" ? "u64" : codec.ctype;
}

const textOrigin = {
  library: "native code",
  symbol: "the caller of a callback",
  caught: () => null,
};

/** One incoming argument as `NativeResult`. Narrow integers come as 32 bits. */
function incoming(
  type: string,
  value: unknown,
  ready: Native,
  pointers: PointerConversions,
): unknown {
  switch (type) {
    case "bool":
      return ((value as number) & 255) !== 0;
    case "i8":
      return (value as number) << 24 >> 24;
    case "u8":
      return (value as number) & 255;
    case "i16":
      return (value as number) << 16 >> 16;
    case "u16":
      return (value as number) & 65535;
    case "pointer":
    case "buffer":
    case "function":
      return pointers.pointerFrom(BigInt(value as bigint));
    case "cstring":
      return readString(ready, BigInt(value as bigint), textOrigin);
    default:
      return value;
  }
}

class NativeFunction implements Callback {
  readonly address: bigint;
  readonly #native: Native;
  readonly #callback: NativeCallback;
  readonly #parsed: ParsedCallback;
  readonly #pointers: PointerConversions;
  readonly #body: (...args: unknown[]) => unknown;
  readonly #zero: number | bigint | undefined;
  #running = 0;
  #closed = false;

  constructor(parsed: ParsedCallback, body: (...args: unknown[]) => unknown) {
    this.#native = native();
    this.#parsed = parsed;
    this.#body = body;
    this.#pointers = pointerConversions(this.#native);
    if (parsed.parameterTypes.includes("cstring")) prepareReads(this.#native);
    const { result } = parsed.signature;
    this.#zero = result === "void" ? undefined : result === "u64" || result === "i64" ? 0n : 0;
    const { runtime, functions } = this.#native;
    this.#callback = runtime.createCallback(
      parsed.signature,
      (...values) => this.#run(values),
      functions,
    );
    this.address = functions.fl_callback_open!(this.#callback.address) as bigint;
    if (this.address === 0n) {
      this.#callback.close();
      throw new Error("Cannot make a callback as every barrier is taken: close some first");
    }
  }

  get [callbackClosed](): boolean {
    return this.#closed;
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#native.functions.fl_callback_close!(this.address);
    this.#free();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  /** The runtime's part must outlive a call that is running in it. */
  #free(): void {
    if (this.#running > 0) setTimeout(() => this.#free(), 1);
    else this.#callback.close();
  }

  /** Nothing may be thrown into native code: the runtimes differ in what they make of it. */
  #run(values: unknown[]): unknown {
    if (this.#closed || hasThrown(this.#native.record)) return this.#zero;
    this.#running++;
    try {
      const { parameterTypes } = this.#parsed;
      const converted = parameterTypes.map((type, index) =>
        incoming(type, values[index], this.#native, this.#pointers)
      );
      return this.#convertResult(this.#body(...converted));
    } catch (error) {
      noteThrown(this.#native.record, error);
      this.#native.record.u32[pendingIndex] = pending.thrown;
      return this.#zero;
    } finally {
      this.#running--;
    }
  }

  #convertResult(value: unknown): unknown {
    const { result, resultType } = this.#parsed;
    if (result === null) return undefined;
    try {
      const converted = result.convert(value, this.#pointers);
      if (result.ctype !== "pointer" && result.ctype !== "buffer") return converted;
      return this.#addressOf(converted);
    } catch (error) {
      if (!(error instanceof TypeError || error instanceof RangeError)) throw error;
      throw new TypeError(
        `Cannot return ${describeValue(value)} from a callback as its result (${resultType}) ` +
          error.message,
      );
    }
  }

  #addressOf(value: unknown): bigint {
    const { runtime, functions } = this.#native;
    if (value === null) return 0n;
    if (ArrayBuffer.isView(value)) return runtime.addressOfBuffer(value, functions);
    return runtime.addressOf(value, functions);
  }
}

/**
 * Makes a JavaScript function that native code may call while a guarded call runs on this thread.
 * Recovery never crosses it: a fault in what it calls is caught there, by a guarded call of its
 * own, or not at all.
 *
 * The first value that it throws surfaces unchanged from the guarded call, once that returns; until
 * then native code gets 0, from this callback and every other. Called from another thread it does
 * not run: native code gets 0, and the guarded call a `TypeError`.
 *
 * @param definition Types as for `dlopen`, in Deno's spelling.
 * @param body What runs. It gets its arguments as results are given, and returns what an argument
 * of the result type takes. It is not awaited.
 * @throws {TypeError} If the definition or the body is wrong.
 * @throws {Error} If every barrier is taken, or Deno may not make callbacks: it takes `--allow-ffi`
 * without a list of paths.
 *
 * @example Usage
 * ```ts
 * import { callback, dlopen } from "faultline";
 *
 * using libc = dlopen("libc.so.6", {
 *   qsort: { parameters: ["buffer", "usize", "usize", "function"] },
 * });
 * const numbers = new Uint8Array([3, 1, 2]);
 * let calls = 0;
 * using compare = callback({ parameters: ["address", "address"], result: "i32" }, () => {
 *   calls++;
 *   return 0;
 * });
 * libc.symbols.qsort(numbers, 3, 1, compare);
 * console.log(calls > 0); // true
 * ```
 */
export function callback<const F extends ForeignFunction>(
  definition: F,
  // deno-lint-ignore no-explicit-any -- The arguments follow from types that are data here.
  body: (...args: any[]) => unknown,
): Callback {
  if (typeof body !== "function") {
    throw new TypeError(
      `Cannot make a callback as its body is ${describeValue(body)}: pass a function`,
    );
  }
  return new NativeFunction(parse(definition), body);
}
