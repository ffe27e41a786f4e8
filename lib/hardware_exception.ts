/**
 * The error that a caught hardware exception becomes.
 *
 * @module
 */
import { inspect as inspectOfNode } from "node:util";
import { type CrashReport, makeReport } from "./crash_report.ts";
import { details } from "./exception_details.ts";
import { exceptionFromJson, exceptionToJson } from "./exception_json.ts";
import {
  accessName,
  copyException,
  decodeException,
  type ExceptionBytes,
  type ExceptionInfo,
  ExceptionReader,
  typeOf,
} from "./exception_info.ts";
import { type InspectAsked, inspectText, type InspectValue } from "./inspect_text.ts";
import { whenNativeOpens } from "./native.ts";
import { codeName, signalName } from "./signal_table.ts";
import { showToPrinter, watchUncaught } from "./uncaught.ts";

const brand: symbol = Symbol.for("faultline.HardwareException");

/** What a synthetic exception is made of: one that no CPU raised. */
export interface SyntheticException {
  readonly info: ExceptionInfo;
  readonly message: string;
  readonly additional: unknown;
}

/** An exception of the hardware that a hook threw with something of its own. */
export interface ThrownBytes extends ExceptionBytes {
  readonly additional: unknown;
}

/**
 * Whether this engine asks for the message when it formats the stack, as V8 does. JavaScriptCore
 * takes it from the constructor, and from an own property when it sends an error to another thread.
 */
const messageIsLazy: boolean = asksForMessage();

function asksForMessage(): boolean {
  class Probe extends Error {}
  Object.defineProperty(Probe.prototype, "message", { get: () => "asked" });
  return new Probe().stack?.includes("asked") ?? false;
}

/**
 * A hardware exception that native code ran into: a guarded call throws it.
 *
 * Nothing but a reference is taken when it is thrown; `code`, `message` and `info` are read from
 * what the handler wrote when they are looked at. `instanceof` holds across two copies of this
 * module.
 *
 * @example Usage
 * ```ts
 * import { dlopen, HardwareException } from "faultline";
 *
 * using libc = dlopen("libc.so.6", { strlen: { parameters: ["address"], result: "usize" } });
 * try {
 *   libc.symbols.strlen(0n);
 * } catch (error) {
 *   if (!(error instanceof HardwareException)) throw error;
 *   console.log(error.code, error.info.address); // SEGV_MAPERR 0n
 * }
 * ```
 */
export class HardwareException extends Error {
  declare readonly name: "HardwareException";
  declare readonly message: string;
  #source: ExceptionBytes | SyntheticException;
  #info: ExceptionInfo | undefined;

  /** Made by guarded calls and by `throwException`; not meant to be called. */
  constructor(source: ExceptionBytes | ThrownBytes | SyntheticException) {
    super(messageIsLazy ? undefined : describeSource(source));
    this.#source = source;
    if (!messageIsLazy) showToPrinter(this);
  }

  /** Whether `value` is one, made by this copy of the module or another. */
  static override [Symbol.hasInstance](value: unknown): boolean {
    if (typeof value !== "object" || value === null || !(brand in value)) return false;
    // A class that extends this one has instances of its own.
    return this === HardwareException || Object.prototype.isPrototypeOf.call(this.prototype, value);
  }

  /** `info.code`, where JavaScript users look first. */
  get code(): string {
    const source = this.#source;
    if ("info" in source) return source.info.code;
    const reader = new ExceptionReader(source);
    return codeName(reader.u32("signal"), reader.code);
  }

  /** Everything that the kernel and the CPU reported. */
  get info(): ExceptionInfo {
    if (this.#info === undefined) {
      const source = this.#source;
      // The chunk holds many exceptions: one that is looked at takes its own bytes, and lets go.
      if (!("info" in source)) {
        const copy = copyException(source);
        this.#source = "additional" in source
          ? { ...copy, additional: source.additional } as ThrownBytes
          : copy;
      }
      this.#info = "info" in source
        ? source.info
        : decodeException(this.#source as ExceptionBytes, details);
    }
    return this.#info;
  }

  /** What `throwException` attached. */
  get additional(): unknown {
    const source = this.#source;
    return "additional" in source ? source.additional : undefined;
  }

  /**
   * The exception as plain data: what `structuredClone` and `JSON.stringify` take, and `fromJSON`
   * turns back. Everything is computed, since it may be read in another process or on another day.
   *
   * @returns `{ format: "faultline.exception", version: 1, message, stack, additional, info }`.
   * `info` has the fields of `ExceptionInfo` by their names; 64-bit numbers as "0x" text,
   * `instruction.bytes` as hexadecimal text, `backtrace` as the frames, `siginfo` and `context` in
   * base64. `additional` is what JSON keeps of it, left out when that is nothing. Later versions
   * only add properties.
   *
   * @example Usage
   * ```ts
   * import { dlopen, HardwareException } from "faultline";
   *
   * using libc = dlopen("libc.so.6", { strlen: { parameters: ["address"], result: "usize" } });
   * try {
   *   libc.symbols.strlen(16n);
   * } catch (error) {
   *   if (!(error instanceof HardwareException)) throw error;
   *   const again = HardwareException.fromJSON(JSON.parse(JSON.stringify(error)));
   *   console.log(again.code, again.info.address); // SEGV_MAPERR 16n
   * }
   * ```
   */
  toJSON(): unknown {
    const { info, message, stack, additional } = this;
    return exceptionToJson({ info, message, stack, additional });
  }

  /**
   * The exception that `toJSON` described. It belongs to no call of this process: nothing is looked
   * up in this process's memory for it.
   *
   * @param value What `toJSON` returned, also after `structuredClone`, or after `JSON.stringify`
   * and `JSON.parse`.
   * @throws {TypeError} If it has another shape; the message names the field.
   *
   * @example Usage
   * ```ts
   * import { catchException, HardwareException, throwException } from "faultline";
   *
   * const result = catchException(() => throwException({ page: 7 }));
   * if (!result.ok) {
   *   const again = HardwareException.fromJSON(structuredClone(result.error.toJSON()));
   *   console.log(again.info.type, again.additional); // user { page: 7 }
   * }
   * ```
   */
  static fromJSON(value: unknown): HardwareException {
    const { stack, ...source } = exceptionFromJson(value);
    const error = new HardwareException(source);
    if (stack === undefined) return error;
    Object.defineProperty(error, "stack", { value: stack, writable: true, configurable: true });
    return error;
  }

  /**
   * Collects what is known about the exception, for people: `toText()` of the report shows it.
   *
   * Memory, modules and names are those of now: ask soon after the exception.
   *
   * @example Usage
   * ```ts
   * import { catchException, dlopen } from "faultline";
   *
   * using libc = dlopen("libc.so.6", { strlen: { parameters: ["address"], result: "usize" } });
   * const result = catchException(() => libc.symbols.strlen(16n));
   * if (!result.ok) {
   *   const report = result.error.toReport();
   *   console.log(report.signature); // access-violation libc.so.6!...
   *   console.log(report.toText({ color: false, width: 100 }));
   * }
   * ```
   */
  toReport(): CrashReport {
    const { info, message, stack } = this;
    const isOwn = !("info" in this.#source);
    return makeReport({ info, message, stack, backtrace: info.backtrace(), isOwn });
  }

  /** The message, made when it is looked at. */
  static describe(exception: HardwareException): string {
    return describeSource(exception.#source);
  }

  /** What `console.log` and `inspect` of both runtimes show. */
  static inspect(exception: HardwareException, asked: InspectAsked): string {
    const { name, info, message, stack, additional } = exception;
    const others: Record<string, unknown> = { ...exception };
    if (exception.cause !== undefined) others["cause"] = exception.cause;
    if (additional !== undefined) others["additional"] = additional;
    const backtrace = info.backtrace();
    return inspectText({ name, message, stack, info, backtrace, others }, asked);
  }
}

/** What both runtimes pass besides: `showHidden`, `breakLength` and more. */
interface InspectOptions {
  readonly colors?: boolean;
  readonly depth?: number | null;
}

// On the prototype, so that throwing costs neither text nor properties where that can be.
Object.defineProperties(HardwareException.prototype, {
  [brand]: { value: true },
  // Deno honours this name as well as its own, Bun this one only.
  [Symbol.for("nodejs.util.inspect.custom")]: {
    value(
      this: HardwareException,
      depth: number | null,
      options: InspectOptions = {},
      inspect: (value: unknown, options: InspectOptions) => string = inspectOfNode,
    ): string {
      const left = typeof depth === "number" ? Math.max(depth - 1, 0) : depth;
      const show: InspectValue = (value) => inspect(value, { ...options, depth: left });
      return HardwareException.inspect(this, {
        color: options.colors === true,
        isNamedOnly: typeof depth === "number" && depth < 0,
        inspect: show,
      });
    },
  },
  name: { value: "HardwareException", writable: true, configurable: true },
  message: {
    get(this: HardwareException): string {
      return HardwareException.describe(this);
    },
    set(this: HardwareException, value: string): void {
      Object.defineProperty(this, "message", { value, writable: true, configurable: true });
    },
    configurable: true,
  },
});

whenNativeOpens(() => watchUncaught(brand));

function describeSource(source: ExceptionBytes | SyntheticException): string {
  return "info" in source ? source.message : describeException(source);
}

const happenings: Readonly<Record<string, string>> = {
  "general-protection": "used a non-canonical address or a privileged instruction",
  "misaligned-access": "accessed a misaligned address",
  "illegal-instruction": "ran an illegal instruction",
  "breakpoint": "hit a breakpoint",
  "single-step": "was single-stepped",
  "watchpoint": "hit a watchpoint",
  "abort": "called abort()",
  "policy": "made a system call that is not allowed",
};

function hex(value: bigint): string {
  return `0x${value.toString(16)}`;
}

function happening(reader: ExceptionReader): string {
  const type = typeOf(reader);
  const address = reader.address;
  const code = codeName(reader.u32("signal"), reader.code);
  if (type === "arithmetic") {
    return code === "FPE_INTDIV"
      ? "could not divide: by zero, or the result is too large"
      : "failed at arithmetic";
  }
  if (type === "stack-overflow") return "overflowed its stack";
  const known = happenings[type];
  if (known !== undefined) return known;
  const verb = { read: "read", write: "wrote to", execute: "jumped to" }[
    accessName(reader) ?? "read"
  ];
  const where = address === null ? "memory that it may not access" : `address ${hex(address)}`;
  if (code === "SEGV_MAPERR") return `${verb} ${where}, where nothing is mapped`;
  if (code === "SEGV_ACCERR") return `${verb} ${where}, which does not allow it`;
  if (code === "BUS_ADRERR") return `${verb} ${where}, past the end of the mapped file`;
  return `${verb} ${where}`;
}

function describeException(source: ExceptionBytes): string {
  const reader = new ExceptionReader(source);
  const signal = signalName(reader.u32("signal")) ?? `signal ${reader.u32("signal")}`;
  const code = codeName(reader.u32("signal"), reader.code);
  const { symbol, library } = source.call;
  return `${symbol}() of ${library} ${happening(reader)} (${signal}, ${code})`;
}
