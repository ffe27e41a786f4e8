/**
 * An exception while a hook looks at it: everything that `ExceptionInfo` says, and the state that
 * the interrupted thread goes on with.
 *
 * @module
 */
import { builtin } from "./builtin.ts";
import { nativeStatus, statePart } from "./abi.ts";
import { describeValue } from "./describe_value.ts";
import { details } from "./exception_details.ts";
import {
  copyException,
  decodeException,
  type ExceptionBytes,
  type ExceptionInfo,
  ExceptionReader,
  type Registers,
} from "./exception_info.ts";
import { FaultlineError } from "./faultline_error.ts";
import {
  changedRegisters,
  copyRegisters,
  readRegisters,
  registerCount,
  registersStart,
} from "./live_registers.ts";
import { exceptionLayout } from "./machine.ts";
import { native } from "./native.ts";
import { codeName, signalName } from "./signal_table.ts";

/**
 * Parts of a thread's state.
 *
 * @example Usage
 * ```ts
 * import type { ThreadState } from "faultline";
 *
 * const stepping: ThreadState["singleStep"] = true;
 * console.log(stepping);
 * ```
 */
export interface ThreadState {
  general: Registers;
  /**
   * On x64 x87 and SSE state: the 512 bytes of FXSAVE. On arm64 the kernel's `fpsimd_context`: FPSR
   * at byte 8, FPCR at 12, v0 to v31 from 16 on.
   */
  floatingPoint: Uint8Array;
  /** All extended state: in the standard form of XSAVE, on arm64 as the records of the kernel. */
  vector: Uint8Array;
  /** Debug registers. A thread cannot see its own. */
  debug: BigUint64Array;
  /** Whether each instruction raises SIGTRAP "single-step". On arm64 only a tracer can do that. */
  singleStep: boolean;
}

/**
 * The exception, with registers that a hook may write before it answers "handled".
 *
 * @example Usage
 * ```ts
 * import { addHook, type LiveException } from "faultline";
 *
 * const skip = (exception: LiveException): "handled" => {
 *   exception.registers.instructionPointer += 2n; // the length of ud2
 *   return "handled";
 * };
 * using _hook = addHook({ signals: ["SIGILL"] }, skip);
 * ```
 */
export interface LiveException extends Omit<ExceptionInfo, "registers"> {
  /**
   * What the thread goes on with when the hook answers "handled". A register has a portable and a
   * machine name: the one that was changed counts; two different changes are a TypeError.
   */
  readonly registers: Registers;
  /**
   * A copy of a part of the state.
   *
   * @throws {TypeError} If there is no such part.
   * @throws {FaultlineError} With code NOT_SUPPORTED for "debug".
   * @throws {Error} When the hook has returned.
   */
  readState<K extends keyof ThreadState>(kind: K): ThreadState[K];
  /**
   * Replaces a part of the state; what a hook that does not answer "handled" wrote is undone.
   *
   * @throws {TypeError} If the state has another type or length, or one that the processor refuses.
   * @throws {FaultlineError} With code NOT_SUPPORTED for "debug", and on arm64 for "singleStep".
   * @throws {Error} When the hook has returned.
   */
  writeState<K extends keyof ThreadState>(kind: K, state: ThreadState[K]): void;
}

/** Values of the registers to write; used within one call. */
const scratch = new BigUint64Array(registerCount);

/** More than any processor's extended state has now. */
const stateMax = 16 * 1024;

function notSupported(
  what = "reach a thread's own debug registers, which the kernel shows",
): FaultlineError {
  return new FaultlineError("NOT_SUPPORTED", `Cannot ${what} to tracers only`);
}

type PartName = Exclude<keyof ThreadState, "debug">;
type BytesName = Exclude<PartName, "general">;
const parts: Readonly<Record<BytesName, number>> = {
  floatingPoint: statePart.floating_point,
  vector: statePart.vector,
  singleStep: statePart.single_step,
};

function checkPart(kind: unknown): asserts kind is PartName {
  if (kind === "debug") throw notSupported();
  if (typeof kind === "string" && (kind === "general" || Object.hasOwn(parts, kind))) return;
  throw new TypeError(
    `Cannot reach the state ${describeValue(kind)}: it is one of ` +
      `general, ${Object.keys(parts).join(", ")} and debug`,
  );
}

/** The exception that hooks look at. */
export class HookedException {
  readonly bytes: ExceptionBytes;
  /** What native code knows it by, while the hook runs. */
  readonly #place: number;
  #info: ExceptionInfo | undefined;
  #registers: Registers | undefined;
  /** The same as they were. */
  #registersBefore: Registers | undefined;
  /** Parts that were written, as they were. */
  readonly #before: Map<BytesName, Uint8Array> = new Map();
  #isOver = false;

  constructor(bytes: ExceptionBytes, place: number) {
    this.bytes = bytes;
    this.#place = place;
  }

  /** Everything but the registers, decoded when it is first looked at. */
  get info(): ExceptionInfo {
    return this.#info ??= decodeException(copyException(this.bytes), details);
  }

  get address(): bigint | null {
    return new ExceptionReader(this.bytes).address;
  }

  get signal(): ExceptionInfo["signal"] {
    return signalName(new ExceptionReader(this.bytes).u32("signal"));
  }

  get code(): string {
    const reader = new ExceptionReader(this.bytes);
    return codeName(reader.u32("signal"), reader.code);
  }

  get registers(): Registers {
    if (this.#registers !== undefined) return this.#registers;
    const { chunk, offset } = this.bytes;
    const before = readRegisters(chunk, offset + exceptionLayout.context.offset + registersStart);
    this.#registersBefore = before;
    // A name that does not exist is a mistake, which must not look like a write.
    return this.#registers = Object.preventExtensions(copyRegisters(before));
  }

  readState<K extends keyof ThreadState>(kind: K): ThreadState[K];
  readState(kind: unknown): unknown {
    checkPart(kind);
    if (kind === "general") return { ...this.registers };
    const bytes = this.#read(kind);
    return kind === "singleStep" ? bytes[0] === 1 : bytes;
  }

  writeState<K extends keyof ThreadState>(kind: K, state: ThreadState[K]): void;
  writeState(kind: unknown, state: unknown): void {
    checkPart(kind);
    if (kind === "general") return this.#assign(state);
    const bytes = typeof state === "boolean" && kind === "singleStep"
      ? Uint8Array.of(state ? 1 : 0)
      : state;
    if (!(bytes instanceof Uint8Array) || (kind === "singleStep") !== (bytes !== state)) {
      throw new TypeError(
        `Cannot write the state "${kind}" as it must be ${
          kind === "singleStep" ? "a boolean" : "a Uint8Array"
        }: it is ${describeValue(state)}`,
      );
    }
    const before = this.#read(kind);
    this.#write(kind, bytes);
    if (!this.#before.has(kind)) this.#before.set(kind, before);
  }

  /** Makes the thread go on with what was written. */
  commit(): void {
    if (this.#registers === undefined) return;
    const changed = changedRegisters(this.#registers, this.#registersBefore!);
    if (changed === null) return;
    let mask = 0n;
    for (const [at, word] of changed) {
      mask |= 1n << BigInt(at);
      scratch[at] = word;
    }
    const { functions } = native();
    functions.fl_state_set_registers!(this.#place, mask, scratch);
  }

  /** Undoes what was written, for the next hook. */
  discard(): void {
    for (const [kind, bytes] of this.#before) this.#write(kind, bytes);
    this.#before.clear();
    this.#registers = undefined;
  }

  /** The hook has returned. */
  end(): void {
    this.#isOver = true;
  }

  #assign(state: unknown): void {
    if (this.#isOver) throw overError("write");
    if (typeof state !== "object" || state === null) {
      throw new TypeError(
        `Cannot write the state "general" as it must be an object of registers: it is ${
          describeValue(state)
        }`,
      );
    }
    // Checked at once, so that the hook learns of it where it is wrong.
    changedRegisters(Object.assign({ ...this.registers }, state), this.#registersBefore!);
    Object.assign(this.registers, state);
  }

  #read(kind: BytesName): Uint8Array {
    const into = new Uint8Array(stateMax);
    const { functions } = native();
    const length = functions.fl_state_read!(
      this.#isOver ? 0 : this.#place,
      parts[kind],
      into,
      into.byteLength,
    ) as number;
    if (length < 0) throw overError("read");
    return into.subarray(0, length).slice();
  }

  #write(kind: BytesName, bytes: Uint8Array): void {
    const { functions } = native();
    const status = functions.fl_state_write!(
      this.#isOver ? 0 : this.#place,
      parts[kind],
      bytes,
      bytes.byteLength,
    ) as number;
    if (status === nativeStatus.not_found) throw overError("write");
    if (status === nativeStatus.not_supported) {
      throw notSupported("step through a thread here, which the processor offers");
    }
    if (status < 0) {
      throw new TypeError(
        `Cannot write the state "${kind}" as its length (${bytes.byteLength}) is not that of ` +
          "readState, or the processor would refuse its control bits",
      );
    }
  }
}

function overError(verb: string): Error {
  return new Error(
    `Cannot ${verb} the state of a thread whose hook has returned: use the exception inside it`,
  );
}

/** The fields that come from the decoded info alone. */
const infoFields = [
  "type",
  "zxType",
  "signalNumber",
  "codeNumber",
  "access",
  "explanation",
  "instruction",
  "instructionPointer",
  "stackPointer",
  "processId",
  "threadId",
  "call",
  "symbolAddress",
  "addressLsb",
  "bounds",
  "protectionKey",
  "synthCode",
  "synthData",
  "safety",
  "suspects",
  "hooksSkipped",
  "siginfo",
  "context",
  "backtrace",
] as const satisfies readonly (keyof ExceptionInfo)[];

for (const name of infoFields) {
  Object.defineProperty(HookedException.prototype, name, {
    get(this: HookedException): unknown {
      return this.info[name];
    },
    configurable: true,
  });
}

// Both runtimes ask for this name. The fields are on the prototype, where they do not look.
Object.defineProperty(HookedException.prototype, Symbol.for("nodejs.util.inspect.custom"), {
  value(
    this: HookedException,
    _depth: number,
    options: object,
    inspect: (value: unknown, options: object) => string = builtin("node:util").inspect,
  ): string {
    return inspect({ ...this.info, registers: { ...this.registers } }, options);
  },
});
