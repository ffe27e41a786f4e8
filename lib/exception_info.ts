/**
 * Reads an exception as the handler wrote it. Pure: nothing here touches native code.
 *
 * @module
 */
import { exceptionFlags, hooksSkipped } from "./abi.ts";
import { explain, type MappingsAround } from "./explanation.ts";
import { exceptionLayout, machine, portableNames, registerOffsets } from "./machine.ts";
import { decodeSiginfo, type SiginfoFields } from "./siginfo.ts";
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
  /**
   * What the address is, in one sentence: "offset 0x10 from the null page: ...", "3 bytes past
   * mapping libz.so.1 r--", "non-canonical pointer ...". From the mappings at first use.
   */
  readonly explanation: string;
  /**
   * The instruction at `instructionPointer`, read at first use: up to 15 bytes on x64, the most
   * that one can have, and 4 on arm64. null when they cannot be read. `text` needs the optional
   * package iced-x86, and is null on arm64.
   */
  readonly instruction: FaultingInstruction | null;
  readonly instructionPointer: bigint;
  readonly stackPointer: bigint;
  readonly registers: Readonly<Registers>;
  readonly processId: number;
  /** The kernel's thread id. */
  readonly threadId: number;
  /** Symbol of the guarded call that was running, and the library it belongs to. */
  readonly call: { readonly library: string; readonly symbol: string } | null;
  /**
   * Start of the function that the faulting instruction belongs to, looked up at first use. null
   * when unknown: after a jump to where no code is, and in code that no file's symbols name.
   */
  readonly symbolAddress: bigint | null;
  /** Only for BUS_MCEERR_*: log2 of the lost range in bytes. */
  readonly addressLsb: number | null;
  /** Only for SEGV_BNDERR: the bounds that were exceeded. */
  readonly bounds: { readonly lower: bigint; readonly upper: bigint } | null;
  /** Only for SEGV_PKUERR: the protection key that denied the access. */
  readonly protectionKey: number | null;
  /** Policy exceptions: Zircon's code for a system call that is not allowed, 18. Else 0. */
  readonly synthCode: number;
  /** Policy exceptions: the number of the system call. Else 0n. */
  readonly synthData: bigint;
  /**
   * "suspect": an allocator, the loader or a function that holds a lock was running between the
   * fault and its recovery point, or the library had changed the signal mask. Else "unknown":
   * nothing can tell that a library's data is whole. Found out at first use.
   */
  readonly safety: "unknown" | "suspect";
  /** The functions that make it suspect, innermost first; none for a changed signal mask. */
  readonly suspects: readonly string[];
  /** Why JavaScript hooks did not run, if some were registered and none could. */
  readonly hooksSkipped: string | null;
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

/**
 * The bytes of an instruction, and its text.
 *
 * @example Usage
 * ```ts
 * import { type FaultingInstruction, HardwareException } from "faultline";
 *
 * const text = ({ info }: HardwareException): FaultingInstruction["text"] | undefined =>
 *   info.instruction?.text;
 * console.log(typeof text);
 * ```
 */
export interface FaultingInstruction {
  readonly bytes: Uint8Array;
  readonly text: string | null;
}

/** What an exception asks its process for, each when it is looked at. */
export interface ExceptionDetails {
  mappingsAround(address: bigint): MappingsAround;
  /** The first bytes at `address` that can be read, at most `byteLength`. */
  readAvailable(address: bigint, byteLength: number): Uint8Array;
  instructionText(bytes: Uint8Array, address: bigint): string | null;
  /** Allocator, loader and lock functions that were running. */
  suspects(bytes: ExceptionBytes): readonly string[];
  symbolAddress(bytes: ExceptionBytes): bigint | null;
  backtrace(
    bytes: ExceptionBytes,
    options?: { limit?: number; symbols?: boolean },
  ): readonly StackFrame[];
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

  constructor({ chunk, offset }: Pick<ExceptionBytes, "chunk" | "offset">) {
    this.#chunk = chunk;
    this.#offset = offset;
  }

  /** A 32-bit field. */
  u32(
    field: NarrowField,
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

  /** A register at its offset in the machine context. */
  registerAt(offset: number): bigint {
    const at = this.#offset + exceptionLayout.context.offset + offset;
    return this.#chunk.getBigUint64(at, true);
  }
}

type NarrowField =
  | "slot"
  | "hooks_skipped"
  | "signal"
  | "flags"
  | "access"
  | "process_id"
  | "thread_id"
  | "size"
  | "extended_length"
  | "extended_gap_at"
  | "extended_gap";

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

const skippedReasons: Readonly<Record<number, string>> = {
  [hooksSkipped.unguarded]: "no guarded call was running where it happened",
  [hooksSkipped.stack]: "the stack pointer was not in the thread's own stack",
  [hooksSkipped.stack_full]: "the stack had no room left for a hook",
  [hooksSkipped.depth]: "hooks ran inside hooks 8 deep already",
  [hooksSkipped.no_progress]: 'it was answered "handled" 1,000 times and nothing changed',
  [hooksSkipped.other_thread]: "it happened on another thread than the one that added the hook",
  [hooksSkipped.no_room]: "the handler had no memory left for exceptions",
  [hooksSkipped.running]: "the hook was running when it happened",
};

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
  for (const [name, machineName] of Object.entries(portableNames)) {
    registers[name] = reader.registerAt(registerOffsets[machineName]!);
  }
  for (const [name, offset] of Object.entries(registerOffsets)) {
    registers[name] = reader.registerAt(offset);
  }
  return Object.freeze(registers) as unknown as Readonly<Registers>;
}

/** The ucontext, then the extended state with the zeroes that were left out. */
function readContext(reader: ExceptionReader): Uint8Array {
  const { offset, byteLength } = exceptionLayout.context;
  const stored = reader.copy(exceptionLayout.byteLength, reader.u32("extended_length"));
  const gapAt = reader.u32("extended_gap_at");
  const gap = reader.u32("extended_gap");
  const context = new Uint8Array(byteLength + stored.byteLength + gap);
  context.set(reader.copy(offset, byteLength));
  context.set(stored.subarray(0, gapAt), byteLength);
  context.set(stored.subarray(gapAt), byteLength + gapAt + gap);
  return context;
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

/** The value of `compute`, which runs at the first call. */
function once<T>(compute: () => T): () => T {
  let made: { readonly value: T } | undefined;
  return () => (made ??= { value: compute() }).value;
}

type Computed<T> = { readonly [K in keyof T]: () => T[K] };

/**
 * What lazy properties are computed by, under a key that nobody enumerates. A WeakMap instead would
 * keep them until the engine's next full collection.
 */
const computedBy = Symbol("computedBy");

interface Lazy {
  readonly [computedBy]?: Readonly<Record<string, () => unknown>>;
}

const getters = new Map<string, () => unknown>();

/** One getter per name: with one per object, V8 would keep a hidden class for each. */
function getterOf(name: string): () => unknown {
  let getter = getters.get(name);
  if (getter === undefined) {
    getter = function (this: Lazy): unknown {
      return this[computedBy]?.[name]?.();
    };
    getters.set(name, getter);
  }
  return getter;
}

/** Adds properties that are computed when they are looked at, and then stay. */
function lazily<E extends object, T extends object>(eager: E, computed: Computed<T>): E & T {
  const made: Record<string, () => unknown> = {};
  for (const name of Object.keys(computed) as (keyof T & string)[]) {
    made[name] = once(computed[name]);
    Object.defineProperty(eager, name, { get: getterOf(name), enumerable: true });
  }
  return Object.defineProperty(eager, computedBy, { value: made }) as E & T;
}

function readInstruction(
  reader: ExceptionReader,
  details: ExceptionDetails,
): FaultingInstruction | null {
  const address = reader.u64("instruction_pointer");
  const bytes = details.readAvailable(address, machine.instructionLength);
  if (bytes.byteLength === 0) return null;
  return Object.freeze(
    lazily({ bytes }, { text: () => details.instructionText(bytes, address) }),
  );
}

type LazyFields = Pick<
  ExceptionInfo,
  "explanation" | "instruction" | "safety" | "suspects" | "symbolAddress"
>;
type EagerFields = Omit<ExceptionInfo, keyof LazyFields | "backtrace">;

/** What takes more than the bytes: the mappings, the code, the stack. */
function lazyFields(
  bytes: ExceptionBytes,
  eager: EagerFields,
  details: ExceptionDetails,
): Computed<LazyFields> {
  const reader = new ExceptionReader(bytes);
  const instruction = once(() => readInstruction(reader, details));
  const suspects = once(() => Object.freeze(findSuspects(bytes, details)));
  const low = reader.u64("stack_low");
  return {
    explanation: () =>
      explain({
        ...eager,
        bytes: instruction()?.bytes ?? null,
        stack: low === 0n ? null : { low, guard: reader.u64("stack_guard") },
      }, details.mappingsAround),
    instruction,
    safety: () => suspects().length > 0 || maskChanged(reader) ? "suspect" : "unknown",
    suspects,
    symbolAddress: () => details.symbolAddress(bytes),
  };
}

function maskChanged(reader: ExceptionReader): boolean {
  return (reader.u32("flags") & exceptionFlags.mask_changed) !== 0;
}

function findSuspects(bytes: ExceptionBytes, details: ExceptionDetails): readonly string[] {
  // The handler saw that no such function is mentioned anywhere: the usual case, and a cheap one.
  const flags = new ExceptionReader(bytes).u32("flags");
  return (flags & exceptionFlags.suspect_mentioned) === 0 ? [] : details.suspects(bytes);
}

/**
 * Whether a function that leaves the process suspect was running, which poisons by default. A
 * changed signal mask alone does not: it was put back. Asked whenever an exception is thrown: all
 * but a few are decided by one flag.
 */
export function hasSuspects(bytes: ExceptionBytes, details: ExceptionDetails): boolean {
  return findSuspects(bytes, details).length > 0;
}

/**
 * Decodes everything that the handler wrote.
 *
 * @param bytes The exception, in memory that is not written any more.
 * @param details Where the rest comes from when it is looked at.
 */
export function decodeException(bytes: ExceptionBytes, details: ExceptionDetails): ExceptionInfo {
  const reader = new ExceptionReader(bytes);
  const signalNumber = reader.u32("signal");
  const codeNumber = reader.code;
  const type = typeOf(reader);
  const siginfo = reader.copy(exceptionLayout.siginfo.offset, exceptionLayout.siginfo.byteLength);
  const fields: SiginfoFields = decodeSiginfo(siginfo);
  const eager: EagerFields = {
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
    ...fields,
    hooksSkipped: skippedReasons[reader.u32("hooks_skipped")] ?? null,
    siginfo,
    context: readContext(reader),
  };
  return withBacktrace(
    lazily<EagerFields, LazyFields>({ ...eager }, lazyFields(bytes, eager, details)),
    (options) => details.backtrace(bytes, options),
  );
}
