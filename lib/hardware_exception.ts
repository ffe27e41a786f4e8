/**
 * The error that a caught hardware exception becomes.
 *
 * @module
 */
import { backtraceOf } from "./backtrace.ts";
import {
  accessName,
  copyException,
  decodeException,
  type ExceptionBytes,
  type ExceptionInfo,
  ExceptionReader,
  typeOf,
} from "./exception_info.ts";
import { codeName, signalName } from "./signal_table.ts";

const brand: symbol = Symbol.for("faultline.HardwareException");

/** What a synthetic exception is made of: one that no CPU raised. */
export interface SyntheticException {
  readonly info: ExceptionInfo;
  readonly message: string;
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
  constructor(source: ExceptionBytes | SyntheticException) {
    super(messageIsLazy ? undefined : describeSource(source));
    this.#source = source;
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
      if ("info" in source) return this.#info = source.info;
      const own = copyException(source);
      this.#source = own;
      this.#info = decodeException(own, (options) => backtraceOf(own, options));
    }
    return this.#info;
  }

  /** What `throwException` attached. */
  get additional(): unknown {
    const source = this.#source;
    return "info" in source ? source.additional : undefined;
  }

  /** The message, made when it is looked at. */
  static describe(exception: HardwareException): string {
    return describeSource(exception.#source);
  }
}

// On the prototype, so that throwing costs neither text nor properties where that can be.
Object.defineProperties(HardwareException.prototype, {
  [brand]: { value: true },
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
