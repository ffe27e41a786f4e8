/**
 * Reads an exception as the handler wrote it. Pure: nothing here touches native code.
 *
 * @module
 */
import { exceptionFlags, exceptionLayout, machineRegisters, portableRegisters } from "./abi.ts";
import {
  codeName,
  type ExceptionType,
  exceptionType,
  type SignalName,
  signalName,
  zxType,
} from "./signal_table.ts";
import type { StackFrame } from "./stack_frame.ts";

/**
 * Registers by portable name; `registers["rax"]`, `registers["x0"]` reach the rest.
 *
 * @example Usage
 * ```ts
 * import type { Registers } from "faultline";
 *
 * const describe = (registers: Registers): string => registers.instructionPointer.toString(16);
 * console.log(typeof describe);
 * ```
 */
export interface Registers {
  instructionPointer: bigint;
  stackPointer: bigint;
  framePointer: bigint;
  flags: bigint;
  [name: string]: bigint | undefined;
}

/**
 * What happened, as the kernel and the CPU reported it.
 *
 * @example Usage
 * ```ts
 * import { type ExceptionInfo, HardwareException } from "faultline";
 *
 * const where = (error: HardwareException): ExceptionInfo["address"] => error.info.address;
 * console.log(typeof where);
 * ```
 */
export interface ExceptionInfo {
  /** What kind of exception, whatever the platform calls it. */
  readonly type: ExceptionType;
  /** The ZX_EXCP_* value that stands for `type`, e.g. 0x108. */
  readonly zxType: number;
  /** null for synthetic exceptions. */
  readonly signal: SignalName | null;
  readonly signalNumber: number;
  /** "SEGV_MAPERR", "FPE_INTDIV", "SI_KERNEL" ...; the number as text where the tables lack it. */
  readonly code: string;
  readonly codeNumber: number;
  /** null when the CPU reports none; never 0n as a stand-in. */
  readonly address: bigint | null;
  /** What the faulting access did; null when the CPU does not tell. */
  readonly access: "read" | "write" | "execute" | null;
  readonly instructionPointer: bigint;
  readonly stackPointer: bigint;
  readonly registers: Readonly<Registers>;
  readonly processId: number;
  /** The kernel's thread id. */
  readonly threadId: number;
  /** Symbol of the guarded call that was running, and the library it belongs to. */
  readonly call: { readonly library: string; readonly symbol: string } | null;
  /** The raw siginfo_t as the kernel gave it, 128 bytes; a copy that stays valid. */
  readonly siginfo: Uint8Array;
  /** The raw machine context: the kernel's ucontext_t, then its extended state; a copy. */
  readonly context: Uint8Array;
  /**
   * The native frames, innermost first, from the faulting instruction to the guarded call. They are
   * worked out at the first call; `symbols: false` leaves out names, files and lines.
   */
  backtrace(options?: { limit?: number; symbols?: boolean }): readonly StackFrame[];
}

/** Bytes of one exception, and the call that it ended. */
export interface ExceptionBytes {
  readonly chunk: DataView;
  readonly offset: number;
  readonly call: { readonly library: string; readonly symbol: string };
}

/** One exception's bytes behind field names. */
export class ExceptionReader {
  readonly #chunk: DataView;
  readonly #offset: number;

  constructor({ chunk, offset }: ExceptionBytes) {
    this.#chunk = chunk;
    this.#offset = offset;
  }

  /** A 32-bit field. */
  u32(
    field: "signal" | "flags" | "access" | "process_id" | "thread_id" | "size" | "extended_length",
  ): number {
    return this.#chunk.getUint32(this.#offset + exceptionLayout[field].offset, true);
  }

  /** A 64-bit field. */
  u64(field: WideField): bigint {
    return this.#chunk.getBigUint64(this.#offset + exceptionLayout[field].offset, true);
  }

  /** A 64-bit field as a number: exact for addresses that a process can have. */
  number(field: WideField): number {
    const at = this.#offset + exceptionLayout[field].offset;
    return this.#chunk.getUint32(at + 4, true) * 2 ** 32 + this.#chunk.getUint32(at, true);
  }

  get code(): number {
    return this.#chunk.getInt32(this.#offset + exceptionLayout.code.offset, true);
  }

  get hasAddress(): boolean {
    return (this.u32("flags") & exceptionFlags.has_address) !== 0;
  }

  get address(): bigint | null {
    return this.hasAddress ? this.u64("address") : null;
  }

  /** Copies `byteLength` bytes from `start`, relative to the exception. */
  copy(start: number, byteLength: number): Uint8Array {
    const { buffer, byteOffset } = this.#chunk;
    return new Uint8Array(buffer, byteOffset + this.#offset + start, byteLength).slice();
  }

  register(name: keyof typeof machineRegisters): bigint {
    const at = exceptionLayout.context.offset + machineRegisters[name];
    return this.#chunk.getBigUint64(this.#offset + at, true);
  }
}

type WideField =
  | "address"
  | "instruction_pointer"
  | "stack_pointer"
  | "stack_low"
  | "stack_high"
  | "stack_guard";

/** The same exception in memory of its own. */
export function copyException(bytes: ExceptionBytes): ExceptionBytes {
  const reader = new ExceptionReader(bytes);
  const copy = reader.copy(0, reader.u32("size"));
  return { chunk: new DataView(copy.buffer), offset: 0, call: bytes.call };
}

const accessNames: readonly ExceptionInfo["access"][] = [null, "read", "write", "execute"];

/** What the access did, or null. */
export function accessName(reader: ExceptionReader): ExceptionInfo["access"] {
  return accessNames[reader.u32("access")] ?? null;
}

/**
 * A segmentation fault in the stack's guard, or within a page below the stack, with the stack
 * pointer near it. Bounds are those that the thread's pthread library named at attach.
 */
function isStackOverflow(reader: ExceptionReader): boolean {
  const low = reader.number("stack_low");
  if (low === 0 || !reader.hasAddress) return false;
  const page = 4096;
  const guard = reader.number("stack_guard");
  // Libraries differ in whether the guard lies inside the bounds.
  const zone = Math.max(guard, page);
  const address = reader.number("address");
  if (address < low - zone || address >= low + guard) return false;
  const stackPointer = reader.number("stack_pointer");
  const near = 64 * 1024;
  return stackPointer < low + guard + near && stackPointer > low - zone - near;
}

/** The type of an exception, the stack bounds taken into account. */
export function typeOf(reader: ExceptionReader): ExceptionType {
  const signal = reader.u32("signal");
  const type = exceptionType(signal, reader.code);
  return type === "access-violation" && isStackOverflow(reader) ? "stack-overflow" : type;
}

function readRegisters(reader: ExceptionReader): Readonly<Registers> {
  const registers: Record<string, bigint> = {};
  for (const [name, machine] of Object.entries(portableRegisters)) {
    registers[name] = reader.register(machine);
  }
  for (const name of Object.keys(machineRegisters) as (keyof typeof machineRegisters)[]) {
    registers[name] = reader.register(name);
  }
  return Object.freeze(registers) as unknown as Readonly<Registers>;
}

/** Adds the method where copying and comparing do not see it: functions cannot be cloned. */
export function withBacktrace(
  info: Omit<ExceptionInfo, "backtrace">,
  backtrace: ExceptionInfo["backtrace"],
): ExceptionInfo {
  return Object.freeze(
    Object.defineProperty(info, "backtrace", { value: backtrace }),
  ) as ExceptionInfo;
}

/** Decodes everything that the handler wrote. */
export function decodeException(
  bytes: ExceptionBytes,
  backtrace: ExceptionInfo["backtrace"],
): ExceptionInfo {
  const reader = new ExceptionReader(bytes);
  const signalNumber = reader.u32("signal");
  const codeNumber = reader.code;
  const type = typeOf(reader);
  return withBacktrace({
    type,
    zxType: zxType(type, signalNumber, codeNumber),
    signal: signalName(signalNumber),
    signalNumber,
    code: codeName(signalNumber, codeNumber),
    codeNumber,
    address: reader.address,
    access: accessName(reader),
    instructionPointer: reader.u64("instruction_pointer"),
    stackPointer: reader.u64("stack_pointer"),
    registers: readRegisters(reader),
    processId: reader.u32("process_id"),
    threadId: reader.u32("thread_id"),
    call: Object.freeze({ library: bytes.call.library, symbol: bytes.call.symbol }),
    siginfo: reader.copy(exceptionLayout.siginfo.offset, exceptionLayout.siginfo.byteLength),
    context: reader.copy(
      exceptionLayout.context.offset,
      exceptionLayout.context.byteLength + reader.u32("extended_length"),
    ),
  }, backtrace);
}
