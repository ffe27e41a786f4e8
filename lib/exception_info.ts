/**
 * Reads an exception as the handler wrote it. Pure: nothing here touches native code.
 *
 * @module
 */
import {
  access as accessNumbers,
  exceptionFlags,
  exceptionLayout,
  machineRegisters,
  portableRegisters,
} from "./abi.ts";
import {
  codeName,
  type ExceptionType,
  exceptionType,
  type SignalName,
  signalName,
  zxType,
} from "./signal_table.ts";

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
}

/** Bytes of one exception, and the call that it ended. */
export interface ExceptionBytes {
  readonly chunk: Uint8Array;
  readonly offset: number;
  readonly call: { readonly library: string; readonly symbol: string };
}

/** One exception's bytes behind field names. */
export class ExceptionReader {
  readonly #bytes: ExceptionBytes;
  readonly #view: DataView;

  constructor(bytes: ExceptionBytes) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.chunk.buffer, bytes.chunk.byteOffset + bytes.offset);
  }

  /** A 32-bit field. */
  u32(field: "signal" | "flags" | "access" | "process_id" | "thread_id"): number {
    return this.#view.getUint32(exceptionLayout[field].offset, true);
  }

  /** A 64-bit field. */
  u64(
    field:
      | "address"
      | "instruction_pointer"
      | "stack_pointer"
      | "stack_low"
      | "stack_high"
      | "stack_guard",
  ): bigint {
    return this.#view.getBigUint64(exceptionLayout[field].offset, true);
  }

  get code(): number {
    return this.#view.getInt32(exceptionLayout.code.offset, true);
  }

  get address(): bigint | null {
    return (this.u32("flags") & exceptionFlags.has_address) === 0 ? null : this.u64("address");
  }

  /** Copies `byteLength` bytes from `start`, relative to the exception. */
  copy(start: number, byteLength: number): Uint8Array {
    const from = this.#bytes.offset + start;
    return this.#bytes.chunk.slice(from, from + byteLength);
  }

  register(name: keyof typeof machineRegisters): bigint {
    return this.#view.getBigUint64(
      exceptionLayout.context.offset + machineRegisters[name],
      true,
    );
  }

  get extendedLength(): number {
    return this.#view.getUint32(exceptionLayout.extended_length.offset, true);
  }
}

/** The same exception in memory of its own. */
export function copyException({ chunk, offset, call }: ExceptionBytes): ExceptionBytes {
  const view = new DataView(chunk.buffer, chunk.byteOffset + offset);
  const length = view.getUint32(exceptionLayout.size.offset, true);
  return { chunk: chunk.slice(offset, offset + length), offset: 0, call };
}

const accessNames = { read: "read", write: "write", execute: "execute" } as const;

/** What the access did, or null. */
export function accessName(reader: ExceptionReader): ExceptionInfo["access"] {
  const number = reader.u32("access");
  for (const name of Object.values(accessNames)) {
    if (accessNumbers[name] === number) return name;
  }
  return null;
}

/**
 * A segmentation fault in the stack's guard, or within a page below the stack, with the stack
 * pointer near it. Bounds are those that the thread's pthread library named at attach.
 */
function isStackOverflow(reader: ExceptionReader): boolean {
  const address = reader.address;
  const low = reader.u64("stack_low");
  if (address === null || low === 0n) return false;
  const page = 4096n;
  const guard = reader.u64("stack_guard");
  // Libraries differ in whether the guard lies inside the bounds.
  const zone = guard > page ? guard : page;
  if (address < low - zone || address >= low + guard) return false;
  const stackPointer = reader.u64("stack_pointer");
  const near = 64n * 1024n;
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

/** Decodes everything that the handler wrote. */
export function decodeException(bytes: ExceptionBytes): ExceptionInfo {
  const reader = new ExceptionReader(bytes);
  const signalNumber = reader.u32("signal");
  const codeNumber = reader.code;
  const type = typeOf(reader);
  return Object.freeze({
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
      exceptionLayout.context.byteLength + reader.extendedLength,
    ),
  });
}
